// A relay on Socket.IO: every socket is a room of its own name. node socketio.js PORT [REDIS-URL]
const { createServer } = require('node:http');
const { Server } = require('socket.io');

async function main() {
  const [port, redis] = process.argv.slice(2);
  const http = createServer();
  const io = new Server(http, { transports: ['websocket'], perMessageDeflate: false });
  if (redis) {
    const { createClient } = require('redis');
    const { createAdapter } = require('@socket.io/redis-adapter');
    const [publish, subscribe] = [createClient({ url: redis }), createClient({ url: redis })];
    await Promise.all([publish.connect(), subscribe.connect()]);
    io.adapter(createAdapter(publish, subscribe));
  }
  io.on('connection', (socket) => {
    socket.on('message', ({ to, data }) =>
      io.to(to.session).emit('message', { from: { session: socket.id }, data }));
  });
  http.listen(Number(port), '127.0.0.1');
}

main();
