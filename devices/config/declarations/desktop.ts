/** Display, USB and sound: fbuf, xhci, hda. */
import type { DeviceDeclaration, VariableDeclaration } from '../declare.ts';
import { GENERIC, USB_SLOTS } from '../legacy.ts';
import {
  BOOLEAN,
  choice,
  displayLength,
  FRAMEBUFFER_VGA,
  integer,
  PATH,
  rfbAddress,
  STRING,
} from '../variable-types.ts';

/** VNC's first port, and the one that noVNC's documentation uses. */
const RFB_PORT = 5900;
const WEB_PORT = 6080;

export const FBUF_OPTIONS = [
  {
    name: 'rfb',
    type: rfbAddress(RFB_PORT),
    default: '127.0.0.1:5900',
    help: 'Where the VNC server listens: [address:]port, or unix:path',
  },
  { name: 'tcp', type: rfbAddress(RFB_PORT), help: 'Another name for rfb, which comes first' },
  { name: 'w', type: displayLength(640, 3840, 1920), default: '1024', help: 'Width of the display' },
  { name: 'h', type: displayLength(480, 2160, 1080), default: '768', help: 'Height of the display' },
  { name: 'vga', type: FRAMEBUFFER_VGA, default: 'io', help: 'Whether the ports of a VGA answer' },
  { name: 'wait', type: BOOLEAN, default: 'false', help: 'Start the guest when a viewer has connected' },
  { name: 'password', type: STRING, help: 'Password of the VNC server' },
  {
    name: 'viewers',
    type: integer(1, 16),
    default: '1',
    help: 'Viewers at a time (webhyve only); further ones wait for one to go',
  },
  {
    name: 'web',
    type: rfbAddress(WEB_PORT),
    help: 'Where a web page with a viewer is served as well (webhyve only): [address:]port',
  },
] as const satisfies readonly VariableDeclaration[];

export const FBUF: DeviceDeclaration = {
  name: 'fbuf',
  summary: 'Raw framebuffer device attached to VNC server',
  onlyOne: 'Only one frame buffer device is allowed.',
  legacy: GENERIC,
  variables: FBUF_OPTIONS,
};

export const HDA_OPTIONS = [
  {
    name: 'play',
    type: PATH,
    help: 'Where sound goes: a .wav file, a named pipe or file for raw samples, |program, or /dev/dsp',
  },
  {
    name: 'rec',
    type: PATH,
    help: 'Where recorded sound comes from: a .wav file, a named pipe or file of raw samples, |program, or /dev/dsp',
  },
] as const satisfies readonly VariableDeclaration[];

export const HDA: DeviceDeclaration = {
  name: 'hda',
  summary: 'High Definition Audio controller',
  legacy: GENERIC,
  variables: HDA_OPTIONS,
};

export const XHCI: DeviceDeclaration = {
  name: 'xhci',
  summary: 'eXtensible Host Controller Interface (xHCI) USB controller',
  onlyOne: 'pci_xhci controller already defined',
  legacy: USB_SLOTS,
  variables: [{ name: 'slot.N.device', type: choice('tablet'), help: 'USB device in slot N, from 1' }],
};
