import { connect } from 'node:net';
import { test } from 'vitest';
import { bootLinux } from '../support/machine.ts';
test('debug', { timeout: 120000 }, async () => {
  await using guest = await bootLinux({
    timeLimit: 110_000,
    args: ['-s', '3,virtio-net,slirp,open,allow=loopback,hostfwd=tcp:127.0.0.1:42223-:22'],
  });
  const run = async (c: string) => {
    const r = await guest.com1.run(c, { timeout: 20000 });
    console.log(c, '=>', r.status, r.output);
  };
  await run('for i in $(seq 100); do ip addr show eth0 | grep -q 10.0.2.15 && break; sleep 0.1; done');
  await run('(nc -l -p 22 > /tmp/greeting; echo over >> /tmp/over) & sleep 2; netstat -tln');
  const once = () =>
    new Promise((resolve) => {
      const t = Date.now();
      const c = connect(42223, '127.0.0.1', () => c.end('through it'));
      c.on('error', (e) => console.log(String(e)));
      c.on('close', (h) => {
        console.log('close', h, Date.now() - t);
        resolve(!h);
      });
      c.resume();
    });
  await once();
  await run('sleep 1; cat /tmp/greeting /tmp/over; netstat -tn');
  await run('(nc -l -p 22 </dev/zero > /tmp/greeting; echo over >> /tmp/over) & sleep 2; netstat -tln');
  await once();
  await run('sleep 1; cat /tmp/greeting /tmp/over; netstat -tn');
  console.log(guest.messages, guest.machine.deviceErrors);
});
