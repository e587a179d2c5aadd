/** Display, USB and sound: fbuf, xhci, hda. */
import type { DeviceDeclaration } from '../declare.ts';
import { GENERIC, USB_SLOTS } from '../legacy.ts';
import { BOOLEAN, choice, displayLength, FRAMEBUFFER_VGA, PATH, RFB_ADDRESS, STRING } from '../variable-types.ts';

export const FBUF: DeviceDeclaration = {
  name: 'fbuf',
  summary: 'Raw framebuffer device attached to VNC server',
  onlyOne: 'Only one frame buffer device is allowed.',
  legacy: GENERIC,
  variables: [
    { name: 'rfb', type: RFB_ADDRESS, default: '127.0.0.1:5900', help: 'Address of the VNC server, [address:]port' },
    { name: 'tcp', type: RFB_ADDRESS, help: 'Another name for rfb, which comes first' },
    { name: 'w', type: displayLength(640, 1920), default: '1024', help: 'Width of the display' },
    { name: 'h', type: displayLength(480, 1200), default: '768', help: 'Height of the display' },
    { name: 'vga', type: FRAMEBUFFER_VGA, default: 'io', help: 'Whether the ports of a VGA answer' },
    { name: 'wait', type: BOOLEAN, default: 'false', help: 'Start the guest when a viewer has connected' },
    { name: 'password', type: STRING, help: 'Password of the VNC server' },
  ],
};

export const HDA: DeviceDeclaration = {
  name: 'hda',
  summary: 'High Definition Audio controller',
  legacy: GENERIC,
  variables: [
    { name: 'play', type: PATH, help: 'Playback device' },
    { name: 'rec', type: PATH, help: 'Recording device' },
  ],
};

export const XHCI: DeviceDeclaration = {
  name: 'xhci',
  summary: 'eXtensible Host Controller Interface (xHCI) USB controller',
  onlyOne: 'pci_xhci controller already defined',
  legacy: USB_SLOTS,
  variables: [{ name: 'slot.N.device', type: choice('tablet'), help: 'USB device in slot N, from 1' }],
};
