/** What the guest's network is measured against: TCP servers of this host, which both machines reach as 10.0.2.2. */
import { createServer } from 'node:net';

const DOWN_MIB = 64;
const UP_MIB = 64;
const CHUNK = Buffer.alloc(1 << 20);
const ROUND_TRIPS = 200;

function listen(answer) {
  return new Promise((resolve, reject) => {
    const server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => {
      socket.on('error', () => undefined);
      answer(socket);
    });
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server));
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

export class NetworkPeer {
  #servers;

  constructor(servers) {
    this.#servers = servers;
  }

  static async listen() {
    const source = await listen((socket) => pour(socket, DOWN_MIB));
    const sink = await listen((socket) => {
      socket.resume();
      socket.on('end', () => socket.end());
    });
    return new NetworkPeer([source, sink]);
  }

  get ports() {
    return this.#servers.map((server) => server.address().port);
  }

  close() {
    for (const server of this.#servers) server.close();
  }
}

/** Commands whose output is the same on every machine. The first waits for the lease. */
export function networkWorkloads({ ports: [source, sink] }) {
  return [
    {
      name: 'DHCP lease',
      command: 'until ip route | grep -q default; do sleep 0.1; done; ip -4 addr show eth0 | grep -o 10.0.2.15/24',
    },
    { name: `TCP to the guest, ${DOWN_MIB} MiB`, command: `nc 10.0.2.2 ${source} < /dev/null | wc -c` },
    {
      name: `TCP from the guest, ${UP_MIB} MiB`,
      command: `head -c ${UP_MIB << 20} /dev/zero | nc 10.0.2.2 ${sink}; echo $?`,
    },
    {
      name: `${ROUND_TRIPS} round trips of ping`,
      command: `ping -A -q -c ${ROUND_TRIPS} 10.0.2.2 | grep -c ' 0% packet'`,
    },
    {
      name: '50 connections',
      command: `i=0; while [ $i -lt 50 ]; do echo | nc 10.0.2.2 ${sink}; i=$((i+1)); done; echo $i`,
    },
  ];
}
