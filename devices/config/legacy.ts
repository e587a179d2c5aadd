/**
 * How the text after a device's name in `-s` and `-l` becomes variables. Every device's declaration picks one of these
 * forms; bhyve(8) describes them as "backends".
 */
import { NAMED_BY_VARIABLE } from './network-backend.ts';
import { splitComma } from './c-numbers.ts';
import type { ConfigNode } from './tree.ts';

/** The text of a device option does not fit its form; the message stands alone on its line, without a program name. */
export class LegacyFormError extends Error {
  override readonly name = 'LegacyFormError';
}

export interface LegacyForm {
  /** The form as the reference shows it, from the comma on. */
  readonly syntax: string;
  /** What `-s slot,DEVICE,help` prints, for devices that have something to list. */
  readonly help?: string;
  /** Sets the variables of the device's node. Throws {@link LegacyFormError}. */
  apply(node: ConfigNode, configuration: string): void;
}

/** Generic options: `name=value`, or a bare `name` for `name=true`. Empty fields (a trailing comma) are skipped. */
export function applyGenericOptions(node: ConfigNode, configuration: string): void {
  for (const field of configuration.split(',')) {
    if (field === '') continue;
    const equals = field.indexOf('=');
    if (equals === -1) node.set(field, 'true');
    else node.set(field.slice(0, equals), field.slice(equals + 1));
  }
}

/** `,name[=value]...` */
export const GENERIC: LegacyForm = { syntax: '[,name[=value]]...', apply: applyGenericOptions };

/** The first field is the value of one variable; generic options follow. An empty first field sets nothing. */
export function firstField(variable: string): LegacyForm {
  return {
    syntax: `[,${variable}[,name[=value]]...]`,
    apply(node, configuration) {
      const [first, rest] = splitComma(configuration);
      if (first !== '') node.set(variable, first);
      if (rest !== undefined) applyGenericOptions(node, rest);
    },
  };
}

/** Everything after the comma is one value, commas included. */
export function wholeText(variable: string): LegacyForm {
  return {
    syntax: `[,${variable}]`,
    apply(node, configuration) {
      if (configuration !== '') node.set(variable, configuration);
    },
  };
}

/**
 * Network devices: the first field without `=` names the backend, the others are generic options. bhyve wants the backend
 * in front; libvirt also writes `mac=...,slirp,open`. `ws=URL`, `socket=NAME` and `channel=NAME` alone name a backend as well.
 */
export const NETWORK: LegacyForm = {
  syntax: '[,backend[,name[=value]]...]',
  apply(node, configuration) {
    const fields = configuration.split(',');
    const at = fields.findIndex((field) => field !== '' && !field.includes('='));
    const short = NAMED_BY_VARIABLE.find((kind) => fields.some((field) => field.startsWith(`${kind}=`)));
    const backend = at === -1 ? short : fields[at];
    if (backend !== undefined) node.set('backend', backend);
    applyGenericOptions(node, fields.filter((_, index) => index !== at).join(','));
  },
};

/** `sharename=path[,ro]`: the name that the guest mounts, and the host's directory. */
export const SHARE: LegacyForm = {
  syntax: ',sharename=path[,ro]',
  apply(node, configuration) {
    for (const field of configuration.split(',')) {
      if (field === '') continue;
      const equals = field.indexOf('=');
      if (equals === -1) {
        node.set(field, 'true');
      } else if (node.getRaw('sharename') !== undefined) {
        throw new LegacyFormError('virtio-9p: more than one share name given');
      } else {
        node.set('sharename', field.slice(0, equals));
        node.set('path', field.slice(equals + 1));
      }
    }
  },
};

/** `name=path` for each port, in order. */
export const CONSOLE_PORTS: LegacyForm = {
  syntax: '[,portname=path]...',
  apply(node, configuration) {
    const fields = configuration.split(',').filter((field) => field !== '');
    for (const [index, field] of fields.entries()) {
      const equals = field.indexOf('=');
      if (equals === -1) throw new LegacyFormError(`virtio-console: port ${field} requires a path`);
      node.set(`port.${index}.name`, field.slice(0, equals));
      node.set(`port.${index}.path`, field.slice(equals + 1));
    }
  },
};

/** USB devices of a controller, one a slot from 1; what follows a `=` is one generic option of that device. */
export const USB_SLOTS: LegacyForm = {
  syntax: '[,usbdevice]...',
  apply(node, configuration) {
    const fields = configuration.split(',').filter((field) => field !== '');
    for (const [index, field] of fields.entries()) {
      const slot = `slot.${index + 1}`;
      const equals = field.indexOf('=');
      node.set(`${slot}.device`, equals === -1 ? field : field.slice(0, equals));
      if (equals !== -1) applyGenericOptions(node.createNode(slot), field.slice(equals + 1));
    }
  },
};

/** AHCI's PxPI register has 32 bits. */
const AHCI_MAX_PORTS = 32;

function applyAhciPort(node: ConfigNode, port: number, type: string, options: string): void {
  const portNode = node.createNode(`port.${port}`);
  portNode.set('type', type);
  firstField('path').apply(portNode, options);
}

/** `ahci,hd:PATH[,opts],cd:PATH...`: a new port begins at each field that starts with `hd:` or `cd:`. */
export const AHCI_PORTS: LegacyForm = {
  syntax: '[,hd:path[,name[=value]]...|,cd:path[,name[=value]]...]...',
  apply(node, configuration) {
    const ports: string[] = [];
    for (const field of configuration.split(',')) {
      const last = ports.length - 1;
      if (/^(hd|cd):/.test(field) || last < 0) ports.push(field);
      else ports[last] = `${ports[last]},${field}`;
    }
    for (const [port, item] of ports.entries()) {
      if (!/^(hd|cd):/.test(item)) {
        throw new LegacyFormError(`Missing or invalid type for port ${port}: "${item}"`);
      }
      if (port >= AHCI_MAX_PORTS) throw new LegacyFormError(`ahci: more than ${AHCI_MAX_PORTS} ports`);
      // An empty path leaves the port without a drive but keeps its number.
      if (splitComma(item)[0].length > 3) applyAhciPort(node, port, item.slice(0, 2), item.slice(3));
    }
  },
};

/** `ahci-hd` and `ahci-cd`: one drive on port 0. */
export function ahciDrive(type: 'hd' | 'cd'): LegacyForm {
  return {
    syntax: ',path[,name[=value]]...',
    apply: (node, configuration) => applyAhciPort(node, 0, type, configuration),
  };
}

/** NVMe: a block device, or `ram=MiB`. */
export const NVME: LegacyForm = {
  syntax: ',path[,name[=value]]... | ,ram=size_in_MiB[,name[=value]]...',
  apply(node, configuration) {
    if (configuration.startsWith('ram=')) applyGenericOptions(node, configuration);
    else firstField('path').apply(node, configuration);
  },
};

/** Kinds of SCSI targets: FreeBSD's target layer, and our own disks and CD drives over images. */
export const SCSI_BACKENDS = ['ctl', 'disk', 'cd'] as const;
/** Options of the adapter; the others belong to the target before them. */
const SCSI_ADAPTER_OPTIONS = new Set(['iid', 'bootindex', 'dev']);

/**
 * `virtio-scsi,/dev/cam/ctl[pp.vp][,iid=N]`, or any number of `target=[id:]path`, each followed by its own options. A target without an id
 * takes the next number; a number that comes again gets another logical unit.
 */
export const SCSI_TARGETS: LegacyForm = {
  syntax: '[,dev[,iid=number]] | [,target=[id:]path[,backend=name][,name[=value]]...]...',
  help: SCSI_BACKENDS.map((name) => `${name}\n`).join(''),
  apply(node, configuration) {
    let count = 0;
    let nextId = 0;
    for (const [index, field] of configuration.split(',').entries()) {
      if (field === '') continue;
      const equals = field.indexOf('=');
      const name = equals === -1 ? field : field.slice(0, equals);
      const value = equals === -1 ? 'true' : field.slice(equals + 1);
      if (index === 0 && equals === -1) {
        node.set('dev', field);
      } else if (name === 'target') {
        const [, id = `${nextId}`, path = ''] = /^(?:(\d+):)?(.*)$/s.exec(value) ?? [];
        if (path === '') throw new LegacyFormError(`virtio-scsi: target "${value}" has no path`);
        const target = node.createNode(`target.${count++}`);
        target.set('id', id);
        target.set('path', path);
        nextId = Number(id) + 1;
      } else if (count > 0 && !SCSI_ADAPTER_OPTIONS.has(name)) {
        node.createNode(`target.${count - 1}`).set(name, value);
      } else {
        node.set(name, value);
      }
    }
  },
};

/** A PCI function of the host: `bus/slot/function`, `pci[domain:]bus:slot:function` or `pptN`. */
export const HOST_PCI_FUNCTION: LegacyForm = {
  syntax: ',bus/slot/func | ,pci[0:]bus:slot:func | ,pptN',
  apply(node, configuration) {
    const [selector, rest] = splitComma(configuration);
    const numbers =
      /^(\d+)\/(\d+)\/(\d+)$/.exec(selector) ?? /^pci(?:0:)?(\d+):(\d+):(\d+)$/.exec(selector) ?? undefined;
    if (numbers) {
      node.set('bus', numbers[1] ?? '');
      node.set('slot', numbers[2] ?? '');
      node.set('func', numbers[3] ?? '');
    } else if (/^ppt\d+$/.test(selector)) {
      node.set('pptdev', selector);
    } else {
      throw new LegacyFormError(`passthru: invalid options "${configuration}"`);
    }
    if (rest !== undefined) applyGenericOptions(node, rest);
  },
};
