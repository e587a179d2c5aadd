/** What is measured inside the guest: commands of busybox whose output is the same on every machine. */

/** Each is one line for the guest's shell, a few seconds at most on an interpreter. */
export const WORKLOADS = [
  { name: 'md5sum of 16 MiB', command: 'head -c 16777216 /dev/zero | md5sum' },
  { name: 'sha256sum of 4 MiB', command: 'head -c 4194304 /dev/zero | sha256sum' },
  { name: 'gzip of 4 MiB', command: 'cat /bin/busybox /bin/busybox | gzip | md5sum' },
  { name: 'shell loop, 50,000 rounds', command: 'i=0; while [ $i -lt 50000 ]; do i=$((i+1)); done; echo $i' },
  {
    name: 'awk, 100,000 divisions',
    command: `awk 'BEGIN { for (i = 1; i <= 100000; i++) x += 1 / i; printf "%.9f\\n", x }'`,
  },
  { name: '200 processes', command: 'i=0; while [ $i -lt 200 ]; do /bin/true; i=$((i+1)); done; echo $i' },
  {
    name: 'copy of 16 MiB in memory',
    command: 'dd if=/dev/zero of=/tmp/f bs=1M count=16 2>/dev/null; wc -c < /tmp/f; rm /tmp/f',
  },
];
