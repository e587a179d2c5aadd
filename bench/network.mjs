/** What the guest's networks are measured against: TCP servers of this host. */
import { createServer } from 'node:net';

const DOWN_MIB = 64;
const UP_MIB = 64;
const CHUNK = Buffer.alloc(1 << 20);
const PINGS = 500;
const REQUESTS = 500;
const CONNECTIONS = 50;

function listen(address, sockets, answer) {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => undefined);
      answer(socket);
    });
    server.once('error', reject);
    server.listen(0, address, () => resolve(server));
  });
}

/** Sends so much, as fast as it goes. */
function pour(socket, mebibytes) {
  let left = mebibytes;
  const more = () => {
    while (left > 0) {
      left--;
      if (!socket.write(CHUNK)) {
        socket.once('drain', more);
        return;
      }
    }
    socket.end();
  };
  more();
  socket.resume();
}

/** Takes so much, and says so in a line. */
function drain(socket, mebibytes) {
  let left = mebibytes << 20;
  socket.on('data', (chunk) => {
    left -= chunk.length;
    if (left === 0) socket.end('all\n');
  });
  socket.on('end', () => socket.end());
}

export class NetworkPeer {
  #servers;
  #sockets;

  constructor(servers, sockets) {
    this.#servers = servers;
    this.#sockets = sockets;
  }

  static async listen(address) {
    const sockets = new Set();
    const source = await listen(address, sockets, (socket) => pour(socket, DOWN_MIB));
    const sink = await listen(address, sockets, (socket) => drain(socket, UP_MIB));
    const echo = await listen(address, sockets, (socket) => socket.pipe(socket));
    return new NetworkPeer([source, sink, echo], sockets);
  }

  get ports() {
    return this.#servers.map((server) => server.address().port);
  }

  close() {
    for (const server of this.#servers) server.close();
    for (const socket of this.#sockets) socket.destroy();
  }
}

/** A command that talks to a port by a shell script, which has the connection as its input and output. */
function talk(host, port, script) {
  return `echo '${script}' > /tmp/talk; nc ${host} ${port} -e sh /tmp/talk; cat /tmp/said`;
}

/**
 * Commands whose output is the same on every machine. busybox's nc copies by 1 KiB, so that dd has the connection for itself.
 * `host` is the address that the guest knows the servers by.
 */
export function networkWorkloads({ ports: [source, sink, echo] }, network, host) {
  const toGuest = `dd bs=64k iflag=fullblock of=/dev/null 2>&1 | grep in > /tmp/said`;
  const fromGuest = `dd bs=64k count=${UP_MIB << 4} if=/dev/zero 2>/dev/null; read line; echo $line > /tmp/said`;
  const requests = `i=0; while [ $i -lt ${REQUESTS} ]; do echo $i; read i; i=$((i+1)); done; echo $i > /tmp/said`;
  const connections = `i=0; while [ $i -lt ${CONNECTIONS} ]; do echo | nc ${host} ${sink} -w 5; i=$((i+1)); done; echo $i`;
  return [
    { name: `${network}: TCP to the guest, ${DOWN_MIB} MiB`, command: talk(host, source, toGuest) },
    { name: `${network}: TCP from the guest, ${UP_MIB} MiB`, command: talk(host, sink, fromGuest) },
    { name: `${network}: ${REQUESTS} requests on a connection`, command: talk(host, echo, requests) },
    { name: `${network}: ${PINGS} pings`, command: `ping -A -q -c ${PINGS} ${host} | grep -c ' 0% packet'` },
    { name: `${network}: ${CONNECTIONS} connections`, command: connections },
  ];
}

/** Waits for the lease of the user-mode network. */
export const LEASE = {
  name: 'slirp: DHCP lease',
  command: 'until ip route | grep -q default; do sleep 0.1; done; ip -4 addr show eth0 | grep -o 10.0.2.15/24',
};
