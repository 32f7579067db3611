// A relay on `ws`: sessions by a number, messages passed on. node ws.js PORT
const { WebSocketServer } = require('ws');
const sessions = new Map();
let next = 0;
const server = new WebSocketServer({
  port: Number(process.argv[2]), host: '127.0.0.1', path: '/v1/signal', perMessageDeflate: false,
  handleProtocols: () => 'rtc-signal.v1',
});
server.on('connection', (socket) => {
  const session = String(next++);
  sessions.set(session, socket);
  socket.on('message', (bytes) => {
    const { type, to, data } = JSON.parse(bytes);
    if (type === 'hello') socket.send(JSON.stringify({ re: '1', type: 'welcome', session }));
    else if (to) sessions.get(to.session)?.send(JSON.stringify({ type, from: { session }, data }));
  });
  socket.on('close', () => sessions.delete(session));
});
