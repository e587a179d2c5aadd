/** Debian's network tools for the guest: an image that is a small Debian, with apt, ssh and DHCP clients; and modules of its kernel. */
import { spawnSync } from 'node:child_process';
import { appendFileSync, copyFileSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { toolsImage } from './guest-tools.ts';

const PACKAGES = [
  ...['iperf3', 'curl', 'openssh-server', 'openssh-client', 'ethtool', 'iproute2', 'isc-dhcp-client', 'iputils-ping'],
  ...[
    'rsync',
    'apt',
    'debian-archive-keyring',
    'bash',
    'dash',
    'coreutils',
    'grep',
    'sed',
    'mawk',
    'procps',
    'hostname',
  ],
  ...['base-files', 'base-passwd', 'libc-bin', 'login', 'findutils', 'diffutils', 'tar', 'gzip'],
];
/** Not in the guest's initramfs: a bad cable, and what it takes to have one for frames that come in. */
const MODULES = ['sch_netem', 'ifb', 'act_mirred', 'cls_matchall', 'sch_ingress'];

/** The other choice of an alternative that is unpacked as well: apt takes two packages in conflict for a broken system. */
const NOT_LISTED = ['libelogind0'];

/** dpkg's list of installed packages (/var/lib/dpkg/status), as if dpkg had installed them. */
function writeStatus(tree: string, packages: string): void {
  const folder = join(tree, 'var/lib/dpkg');
  for (const path of ['info', 'updates']) mkdirSync(join(folder, path), { recursive: true });
  writeFileSync(join(folder, 'available'), '');
  const status = join(folder, 'status');
  writeFileSync(status, '');
  for (const file of readdirSync(packages)) {
    const { stdout: control } = spawnSync('dpkg-deb', ['-f', join(packages, file)], { encoding: 'utf8' });
    const field = (name: string): string => new RegExp(`^${name}: (.*)$`, 'm').exec(control)?.[1] ?? '';
    const name = field('Package');
    if (NOT_LISTED.includes(name)) continue;
    appendFileSync(status, `${control.replace('\n', '\nStatus: install ok installed\n').trimEnd()}\n\n`);
    const listed = field('Multi-Arch') === 'same' ? `${name}:${field('Architecture')}` : name;
    writeFileSync(join(folder, 'info', `${listed}.list`), '');
  }
}

/** Users, and settings of the programs that packages' scripts would have made. */
function writeSettings(tree: string): void {
  const etc = join(tree, 'etc');
  for (const path of ['ssh', 'apt/apt.conf.d', 'dhcp']) mkdirSync(join(etc, path), { recursive: true });
  writeFileSync(
    join(etc, 'passwd'),
    'root:x:0:0:root:/root:/bin/bash\nsshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n_apt:x:42:65534::/nonexistent:/usr/sbin/nologin\n',
  );
  writeFileSync(join(etc, 'group'), 'root:x:0:\nnogroup:x:65534:\n');
  writeFileSync(join(etc, 'shadow'), 'root:*:20000:0:99999:7:::\n');
  writeFileSync(join(etc, 'nsswitch.conf'), 'passwd: files\ngroup: files\nhosts: files dns\n');
  writeFileSync(join(etc, 'fstab'), '');
  writeFileSync(join(etc, 'ssh/sshd_config'), 'PermitRootLogin prohibit-password\nUsePAM no\n');
  writeFileSync(join(etc, 'hosts'), '127.0.0.1 localhost\n');
  writeFileSync(join(etc, 'apt/apt.conf.d/guest'), 'APT::Sandbox::User "root";\n');
  for (const path of ['var/lib/dhcp', 'var/lib/apt/lists/partial', 'var/cache/apt/archives/partial', 'var/log/apt']) {
    mkdirSync(join(tree, path), { recursive: true });
  }
  mkdirSync(join(tree, 'root/.ssh'), { recursive: true, mode: 0o700 });
}

/** The kernel package's modules, where the guest finds them: /modules. */
function copyModules(tree: string, release: string): void {
  const work = mkdtempSync(join(tmpdir(), 'webhyve-modules-'));
  try {
    const script = [
      `apt-get -q -o APT::Sandbox::User= download linux-image-${release}`,
      'dpkg-deb --fsys-tarfile *.deb | tar -x --wildcards "*.ko*"',
    ].join(' && ');
    const { status, stderr } = spawnSync('sh', ['-c', script], { cwd: work, encoding: 'utf8' });
    if (status !== 0) throw new Error(`modules of ${release}: ${stderr.trim()}`);
    mkdirSync(join(tree, 'modules'), { recursive: true });
    const { stdout } = spawnSync('find', [work, '-name', '*.ko'], { encoding: 'utf8' });
    for (const path of stdout.split('\n')) {
      const name = path.slice(path.lastIndexOf('/') + 1).replace(/\.ko$/, '');
      if (MODULES.includes(name)) copyFileSync(path, join(tree, 'modules', `${name}.ko`));
    }
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

/** Path of the image for a guest with that kernel. Throws with the reason when it cannot be made here. */
export function networkTools(release: string): string {
  return toolsImage({
    image: `network-tools-3-${release}.img`,
    packages: PACKAGES,
    roomMib: 300,
    finish: (tree, packages) => {
      writeStatus(tree, packages);
      writeSettings(tree);
      copyModules(tree, release);
    },
  });
}
