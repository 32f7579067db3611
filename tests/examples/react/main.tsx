// What a user of the example writes; who is who comes in the address.

import { createRoot } from 'react-dom/client';
import { StrictMode } from 'react';
import { VideoCall } from './VideoCall';

const parameters = new URLSearchParams(location.search);
const read = (name: string) => parameters.get(name) ?? '';

createRoot(document.body.appendChild(document.createElement('main'))).render(
  <StrictMode>
    <VideoCall url={read('url')} peer={read('peer')} getToken={async () => read('token')} rtc={{ iceTransportPolicy: 'relay' }} />
  </StrictMode>,
);
