/** The command ring and its commands (xHCI 1.2, 4.6). */
import { GuestAddressError, type GuestMemory } from '../../bus/guest-memory.ts';
import type { Port } from './ports.ts';
import * as R from './registers.ts';
import { InputContext, type Slot } from './slot.ts';
import { address, parameter, trbType, type Trb } from './trb.ts';

/** Share of a port's bandwidth that is free, in percent (4.16.2). */
const FREE_BANDWIDTH = 90;
/** Context indices 1-31 as a mask of add and drop flags, without the slot's. */
const ALL_ENDPOINTS = 0xfffffffe;

/** What commands work on. */
export interface CommandTarget {
  readonly memory: GuestMemory;
  /** By number - 1. */
  readonly slots: readonly Slot[];
  /** By number - 1. */
  readonly ports: readonly Port[];
  /** Slots that the driver has enabled in CONFIG. */
  readonly maxSlots: number;
  /** The array of pointers to device contexts. */
  readonly dcbaap: number;
}

export interface CommandResult {
  readonly code: number;
  readonly slot: number;
}

/** Executes a command. Never throws for what a guest wrote. */
export function executeCommand(target: CommandTarget, trb: Trb): CommandResult {
  const id = trb.control >>> 24;
  const type = trbType(trb);
  try {
    if (type === R.CMD_ENABLE_SLOT) return enableSlot(target);
    if (type === R.CMD_NO_OP || type === R.CMD_SET_LATENCY) return { code: R.SUCCESS, slot: 0 };
    if (type === R.CMD_PORT_BANDWIDTH) return { code: portBandwidth(target, trb), slot: id };
    const slot = target.slots[id - 1];
    if (type < R.CMD_DISABLE_SLOT || type > R.CMD_RESET_DEVICE) return { code: R.TRB_ERROR, slot: id };
    if (!slot || slot.state === R.SLOT_DISABLED) return { code: R.SLOT_NOT_ENABLED, slot: id };
    return { code: slotCommand(target, slot, trb), slot: id };
  } catch (error) {
    if (!(error instanceof GuestAddressError)) throw error;
    return { code: R.TRB_ERROR, slot: id };
  }
}

function enableSlot({ slots, maxSlots }: CommandTarget): CommandResult {
  const slot = slots.slice(0, maxSlots).find(({ state }) => state === R.SLOT_DISABLED);
  if (!slot) return { code: R.NO_SLOTS, slot: 0 };
  slot.enable();
  return { code: R.SUCCESS, slot: slot.id };
}

function slotCommand(target: CommandTarget, slot: Slot, trb: Trb): number {
  switch (trbType(trb)) {
    case R.CMD_DISABLE_SLOT:
      slot.disable();
      return R.SUCCESS;
    case R.CMD_ADDRESS_DEVICE:
      return addressDevice(target, slot, trb);
    case R.CMD_CONFIGURE_ENDPOINT:
      return configureEndpoints(target, slot, trb);
    case R.CMD_EVALUATE_CONTEXT:
      return evaluateContext(target, slot, trb);
    case R.CMD_RESET_DEVICE:
      return resetDevice(slot);
    default:
      return endpointCommand(target, slot, trb);
  }
}

function addressDevice({ memory, ports, dcbaap }: CommandTarget, slot: Slot, trb: Trb): number {
  const input = new InputContext(memory, parameter(trb));
  // Slot context and endpoint 0 (4.6.5).
  if ((input.add & 3) !== 3 || input.drop & ALL_ENDPOINTS) return R.TRB_ERROR;
  const words = input.context(0);
  const number = ((words[1] ?? 0) >>> 16) & 0xff;
  const port = ports[number - 1];
  // Behind a hub there is nothing: no device here is one.
  if (!port?.device || ((words[0] ?? 0) & 0xfffff) !== 0) return R.PARAMETER_ERROR;
  if (!port.enabled) return R.TRANSACTION_ERROR;
  const pointer = new Uint8Array(8);
  memory.read(dcbaap + 8 * slot.id, pointer);
  const view = new DataView(pointer.buffer);
  const context = address((view.getUint32(0, true) & ~0x3f) >>> 0, view.getUint32(4, true));
  if (context === 0 || !memory.contains(context, R.ENDPOINTS * R.CONTEXT_BYTES)) return R.PARAMETER_ERROR;
  slot.context = context;
  slot.writeContext(0, words);
  if (!slot.addEndpoint(1, input.context(1))) return R.PARAMETER_ERROR;
  slot.port = number;
  slot.state = trb.control & R.TRB_BLOCK_SET_ADDRESS ? R.SLOT_DEFAULT : R.SLOT_ADDRESSED;
  slot.writeSlotState(slot.state);
  return R.SUCCESS;
}

function configureEndpoints({ memory }: CommandTarget, slot: Slot, trb: Trb): number {
  if (slot.state < R.SLOT_ADDRESSED) return R.CONTEXT_STATE_ERROR;
  if (trb.control & R.TRB_DECONFIGURE) {
    for (let index = 2; index < R.ENDPOINTS; index++) slot.removeEndpoint(index);
    slot.state = R.SLOT_ADDRESSED;
    slot.writeSlotState(slot.state);
    slot.writeContextEntries(1);
    return R.SUCCESS;
  }
  const input = new InputContext(memory, parameter(trb));
  // Neither the slot's context nor endpoint 0 is dropped, and endpoint 0 is not added (4.6.6).
  if (input.drop & 3 || input.add & 2 || !(input.add & 1)) return R.TRB_ERROR;
  for (let index = 2; index < R.ENDPOINTS; index++) {
    const bit = (1 << index) >>> 0;
    if (input.drop & bit) slot.removeEndpoint(index);
    if (input.add & bit && !slot.addEndpoint(index, input.context(index))) return R.PARAMETER_ERROR;
  }
  slot.state = slot.endpoints.some((endpoint, index) => index > 1 && endpoint) ? R.SLOT_CONFIGURED : R.SLOT_ADDRESSED;
  slot.writeSlotState(slot.state);
  slot.writeContextEntries(slot.endpoints.findLastIndex((endpoint) => endpoint !== undefined));
  return R.SUCCESS;
}

function evaluateContext({ memory }: CommandTarget, slot: Slot, trb: Trb): number {
  if (slot.context === 0) return R.CONTEXT_STATE_ERROR;
  const input = new InputContext(memory, parameter(trb));
  if (input.drop !== 0 || (input.add & 3) === 0) return R.TRB_ERROR;
  const output = slot.context;
  if (input.add & 1) {
    const words = input.context(0);
    // Maximum exit latency and interrupter target (4.6.7).
    memory.writeU32(output + 4, ((memory.readU32(output + 4) & 0xffff0000) | ((words[1] ?? 0) & 0xffff)) >>> 0);
    memory.writeU32(output + 8, ((memory.readU32(output + 8) & 0x003fffff) | ((words[2] ?? 0) & 0xffc00000)) >>> 0);
  }
  if (input.add & 2) {
    // Maximum packet size of endpoint 0.
    const gpa = output + R.CONTEXT_BYTES + 4;
    memory.writeU32(gpa, ((memory.readU32(gpa) & 0xffff) | ((input.context(1)[1] ?? 0) & 0xffff0000)) >>> 0);
  }
  return R.SUCCESS;
}

function resetDevice(slot: Slot): number {
  if (slot.state < R.SLOT_ADDRESSED) return R.CONTEXT_STATE_ERROR;
  for (let index = 2; index < R.ENDPOINTS; index++) slot.removeEndpoint(index);
  slot.state = R.SLOT_DEFAULT;
  slot.writeSlotState(slot.state);
  slot.writeContextEntries(1);
  return R.SUCCESS;
}

function endpointCommand(target: CommandTarget, slot: Slot, trb: Trb): number {
  const index = (trb.control >>> 16) & 0x1f;
  const endpoint = slot.endpoints[index];
  if (index === 0) return R.TRB_ERROR;
  if (!endpoint) return R.ENDPOINT_NOT_ENABLED;
  switch (trbType(trb)) {
    case R.CMD_RESET_ENDPOINT:
      if (endpoint.state !== R.EP_HALTED) return R.CONTEXT_STATE_ERROR;
      endpoint.state = R.EP_STOPPED;
      break;
    case R.CMD_STOP_ENDPOINT:
      if (endpoint.state !== R.EP_RUNNING) return R.CONTEXT_STATE_ERROR;
      endpoint.stop();
      break;
    default:
      if (endpoint.state !== R.EP_STOPPED && endpoint.state !== R.EP_ERROR) return R.CONTEXT_STATE_ERROR;
      // No endpoint of this controller has streams.
      if (trb.status >>> 16 !== 0) return R.TRB_ERROR;
      endpoint.moveTo({ dequeue: address((trb.low & ~0xf) >>> 0, trb.high), cycle: trb.low & 1 });
      endpoint.state = R.EP_STOPPED;
  }
  slot.writeEndpoint(index);
  return R.SUCCESS;
}

function portBandwidth({ memory, ports }: CommandTarget, trb: Trb): number {
  const bytes = new Uint8Array(1 + ports.length).fill(FREE_BANDWIDTH, 1);
  memory.write(parameter(trb), bytes);
  return R.SUCCESS;
}
