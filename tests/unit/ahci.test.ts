/** The AHCI adapter through fake guest memory: registers, protocols, errors, resets with I/O in flight. */
import { describe, expect, it } from 'vitest';
import { AhciController } from '../../devices/ahci/controller.ts';
import * as R from '../../devices/ahci/registers.ts';
import { AtaDisk } from '../../devices/ata/disk.ts';
import * as C from '../../devices/ata/opcodes.ts';
import { PacketDevice } from '../../devices/ata/packet-device.ts';
import { MemoryBackend } from '../../devices/block/memory-backend.ts';
import { ScsiCdrom } from '../../devices/scsi/cdrom.ts';
import { FakeAhciDriver } from '../support/fake-ahci.ts';
import { FakeBlock, settle } from '../support/fake-block.ts';
import { FakeMachine } from '../support/fake-bus.ts';
import type { FakeMemory } from '../support/fake-memory.ts';

const IDENTITY = { serial: 'SERIAL', revision: '001', model: 'BHYVE SATA DISK', rotationRate: 1 };
const BUFFER = 0x100000;

function rig(memory?: FakeMemory) {
  const block = new FakeBlock();
  const image = new Uint8Array(64 * 2048).map((_, i) => i >> 11);
  const drive = new ScsiCdrom(new MemoryBackend(image, { readOnly: true }), {
    vendor: 'BHYVE',
    product: 'BHYVE DVD-ROM',
    revision: '001',
    serial: 'CD',
  });
  const machine = new FakeMachine({}, memory);
  const disk = new AtaDisk({ backend: block, identity: IDENTITY, nowNs: () => 0 });
  const device = new AhciController({
    memory: machine.memory,
    drives: [disk, new PacketDevice(drive, { ...IDENTITY, model: 'CD' })],
  });
  machine.pci.add({ bus: 0, slot: 3, func: 0 }, device);
  machine.pci.configure();
  machine.pci.start();
  const driver = new FakeAhciDriver(machine, 0);
  const cd = new FakeAhciDriver(machine, 1, 3, 0x40000);
  return { machine, device, block, driver, cd, drive };
}

function started(memory?: FakeMemory) {
  const all = rig(memory);
  all.driver.start();
  all.cd.start();
  return all;
}

function text(words: Uint8Array, first: number, count: number): string {
  return Array.from({ length: count * 2 }, (_, i) => String.fromCharCode(words[2 * first + (i ^ 1)] ?? 0))
    .join('')
    .trim();
}

describe('AHCI registers', () => {
  it('are those of bhyve', () => {
    const { machine, driver, cd } = rig();
    expect(machine.config(3, 0, 4)).toBe(0x28218086);
    expect(machine.config(3, 8, 4)).toBe(0x01060100);
    expect(driver.global(R.REG_CAP)).toBe(0xff30ff25);
    expect(driver.global(R.REG_PI)).toBe(3);
    expect(driver.global(R.REG_VS)).toBe(0x10300);
    expect(driver.global(R.REG_GHC)).toBe(0x80000000);
    expect(driver.read(R.PX_SIG)).toBe(0x101);
    expect(driver.read(R.PX_SSTS)).toBe(0x133);
    expect(driver.read(R.PX_TFD) & 0xff).toBe(0x50);
    expect(cd.read(R.PX_SIG)).toBe(0xeb140101);
    const empty = new FakeAhciDriver(machine, 2);
    expect(empty.read(R.PX_SSTS)).toBe(0);
    expect(empty.read(R.PX_TFD)).toBe(0x7f);
    expect(empty.read(R.PX_SIG)).toBe(0xffffffff);
  });

  it('that acknowledge interrupts are posted while those are messages', () => {
    const { machine, driver } = rig();
    const abar = machine.bar(3, 5);
    const kinds = (): string[] =>
      [
        R.REG_IS,
        ...[R.PX_IS, R.PX_SNTF, R.PX_SACT, R.PX_CI, R.PX_CMD].map((register) => R.PORTS_OFFSET + register),
      ].map((offset) => machine.writeKind(abar + offset));
    expect(kinds()).toEqual(['answered', 'answered', 'quiet', 'quiet', 'posted', 'answered']);
    const msi = machine.capability(3, 0x05);
    machine.setConfig(3, msi + 2, 2, 1);
    expect(kinds()).toEqual(['posted', 'posted', 'quiet', 'quiet', 'posted', 'answered']);
    machine.setConfig(3, msi + 2, 2, 0);
    expect(kinds()).toEqual(['answered', 'answered', 'quiet', 'quiet', 'posted', 'answered']);
    expect(driver.global(R.REG_PI)).toBe(3);
  });

  it('take whole words only, and give any part', () => {
    const { machine, driver, device } = rig();
    const abar = machine.bar(3, 5);
    machine.mmio.write(abar + R.REG_GHC, 1, R.GHC_IE);
    expect(driver.global(R.REG_GHC) & R.GHC_IE).toBe(0);
    expect(machine.mmio.read(abar + R.REG_VS + 2, 2)).toBe(1);
    expect(device.counters()['bad accesses']).toBe(1);
  });
});

describe('a SATA disk', () => {
  it('identifies itself by a PIO transfer', () => {
    const { machine, driver } = started();
    driver.issue(0, { command: C.IDENTIFY_DEVICE, prds: [[BUFFER, 512]] });
    expect(driver.read(R.PX_CI)).toBe(0);
    expect(driver.acknowledge()).toBe(R.IS_PSS);
    expect(driver.received(R.RFIS_PIO_SETUP)[0]).toBe(0x5f);
    const words = new Uint8Array(512);
    machine.memory.read(BUFFER, words);
    expect(text(words, 10, 10)).toBe('SERIAL');
    expect(text(words, 27, 20)).toBe('BHYVE SATA DISK');
    expect(words.reduce((sum, byte) => (sum + byte) & 0xff, 0)).toBe(0);
    const word = (n: number): number => new DataView(words.buffer).getUint16(2 * n, true);
    expect([word(217), word(75), word(76), word(105), word(169)]).toEqual([1, 31, 0x10e, 1, 1]);
    expect(new DataView(words.buffer).getBigUint64(200, true)).toBe(2048n);
    expect(machine.interrupts.sent).toBe(1);
  });

  it('writes and reads by DMA through several descriptors without a copy', async () => {
    const { machine, driver, block } = started();
    const bytes = Uint8Array.from({ length: 2048 }, (_, i) => (i * 7) & 0xff);
    machine.memory.write(BUFFER, bytes);
    driver.issue(4, {
      command: C.WRITE_DMA_EXT,
      lba: 9,
      count: 4,
      prds: [
        [BUFFER, 1000],
        [BUFFER + 1000, 1048],
      ],
    });
    expect(driver.read(R.PX_TFD) & 0x80).toBe(0x80);
    await block.complete();
    expect(driver.read(R.PX_CI)).toBe(0);
    expect(driver.read(R.PX_TFD) & 0x81).toBe(0);
    expect(machine.memory.readU32(driver.listGpa + 4 * 32 + 4)).toBe(2048);
    expect(driver.acknowledge()).toBe(R.IS_DHRS);
    expect(block.bytes.slice(9 * 512, 13 * 512)).toEqual(bytes);
    driver.issue(0, { command: C.READ_DMA_EXT, lba: 9, count: 4, prds: [[BUFFER + 0x2000, 2048]] });
    await block.complete();
    const back = new Uint8Array(2048);
    machine.memory.read(BUFFER + 0x2000, back);
    expect(back).toEqual(bytes);
    expect(machine.memory.writtenBytes).toBeGreaterThan(2048);
  });

  it('runs queued commands side by side and tells them together', async () => {
    const { machine, driver, block } = started();
    for (let slot = 0; slot < 32; slot++) {
      const prds = [[BUFFER + slot * 512, 512]] as const;
      driver.issue(slot, {
        command: C.READ_FPDMA_QUEUED,
        lba: slot,
        features: 1,
        count: slot << 3,
        queued: true,
        prds,
      });
    }
    expect(block.waiting).toHaveLength(32);
    expect(driver.read(R.PX_CI)).toBe(0);
    expect(driver.read(R.PX_SACT)).toBe(0xffffffff);
    const before = machine.interrupts.sent;
    const last = block.waiting[31];
    block.waiting[7]?.go();
    last?.go();
    await settle();
    expect(driver.read(R.PX_SACT)).toBe(0x7fffff7f);
    expect(driver.acknowledge()).toBe(R.IS_SDBS);
    expect(machine.interrupts.sent - before).toBeLessThanOrEqual(2);
  });

  it('stops at a failed queued command and names it in log 10h', async () => {
    const { machine, driver, block } = started();
    for (const slot of [3, 5]) {
      const prds = [[BUFFER + slot * 512, 512]] as const;
      driver.issue(slot, { command: C.READ_FPDMA_QUEUED, lba: 7 + slot, features: 1, queued: true, prds });
    }
    await block.complete(1, true);
    expect(driver.read(R.PX_IS) & R.IS_TFES).toBe(R.IS_TFES);
    expect(driver.read(R.PX_SACT)).toBe((1 << 3) | (1 << 5));
    expect(driver.read(R.PX_TFD)).toBe(0x4051);
    driver.stop();
    expect(driver.read(R.PX_CMD) & R.CMD_CR).toBe(R.CMD_CR);
    await block.complete();
    expect(driver.read(R.PX_CMD) & R.CMD_CR).toBe(0);
    driver.acknowledge();
    driver.run();
    driver.issue(0, { command: C.READ_LOG_EXT, lba: 0x10, count: 1, prds: [[BUFFER, 512]] });
    expect(machine.memory.readU8(BUFFER)).toBe(5);
    expect(machine.memory.readU8(BUFFER + 2)).toBe(0x51);
    expect(machine.memory.readU32(BUFFER + 4) & 0xffffff).toBe(12);
    driver.issue(0, { command: C.READ_LOG_EXT, lba: 0x10, count: 1, prds: [[BUFFER, 512]] });
    expect(machine.memory.readU8(BUFFER)).toBe(0x80);
  });

  it('trims by DSM and by SEND FPDMA QUEUED', async () => {
    const { machine, driver, block } = started();
    block.bytes.fill(0xee);
    machine.memory.fill(BUFFER, 512, 0);
    machine.memory.writeU64(BUFFER, (16n << 48n) | 100n);
    machine.memory.writeU64(BUFFER + 8, (8n << 48n) | 300n);
    driver.issue(0, { command: C.DATA_SET_MANAGEMENT, features: 1, count: 1, prds: [[BUFFER, 512]] });
    expect(block.waiting[0]?.what).toBe(`discard ${100 * 512} ${16 * 512}`);
    await block.complete();
    await block.complete();
    expect(driver.read(R.PX_CI)).toBe(0);
    expect(block.bytes[100 * 512]).toBe(0);
    expect(block.bytes[300 * 512]).toBe(0);
    driver.issue(1, { command: C.SEND_FPDMA_QUEUED, features: 1, auxiliary: 1, queued: true, prds: [[BUFFER, 512]] });
    await block.complete();
    await block.complete();
    expect(driver.read(R.PX_SACT)).toBe(0);
  });

  it('answers what is beyond its end, what it does not know, and short descriptors with errors', async () => {
    const { driver, block } = started();
    const attempt = (command: Parameters<FakeAhciDriver['issue']>[1]): number => {
      driver.stop();
      driver.run();
      driver.acknowledge();
      driver.issue(0, command);
      return driver.read(R.PX_IS);
    };
    attempt({ command: C.READ_DMA_EXT, lba: 2047, count: 2, prds: [[BUFFER, 1024]] });
    await settle();
    expect(driver.acknowledge() & R.IS_TFES).toBe(R.IS_TFES);
    expect(attempt({ command: 0x77 }) & R.IS_TFES).toBe(R.IS_TFES);
    attempt({ command: C.READ_DMA_EXT, lba: 0, count: 2, prds: [[BUFFER, 512]] });
    await settle();
    expect(driver.acknowledge() & R.IS_OFS).toBe(R.IS_OFS);
    attempt({ command: C.READ_DMA_EXT, lba: 0, count: 1, prds: [[0x7fffff00, 512]] });
    await settle();
    expect(driver.acknowledge() & R.IS_HBFS).toBe(R.IS_HBFS);
    expect(block.waiting).toHaveLength(0);
    // And goes on.
    attempt({ command: C.READ_DMA_EXT, lba: 0, count: 1, prds: [[BUFFER, 512]] });
    await block.complete();
    expect(driver.read(R.PX_CI)).toBe(0);
  });

  it('COMRESET with I/O in flight: the link comes back when nothing moves any more, and nothing of before is told', async () => {
    const { machine, driver, block } = started();
    driver.issue(2, { command: C.READ_FPDMA_QUEUED, lba: 1, features: 1, queued: true, prds: [[BUFFER, 512]] });
    driver.stop();
    driver.write(R.PX_SCTL, 0x301);
    driver.write(R.PX_SCTL, 0x300);
    expect(driver.read(R.PX_TFD) & 0x80).toBe(0x80);
    machine.memory.fill(BUFFER, 512, 0x11);
    await block.complete();
    expect(driver.read(R.PX_SSTS)).toBe(0x133);
    expect(driver.read(R.PX_TFD) & 0xff).toBe(0x50);
    expect(driver.read(R.PX_IS) & R.IS_PCS).toBe(R.IS_PCS);
    expect(driver.received(R.RFIS_D2H)[12]).toBe(1);
    driver.acknowledge();
    driver.run();
    expect(driver.read(R.PX_SACT)).toBe(0);
    driver.issue(0, { command: C.READ_DMA_EXT, lba: 0, count: 1, prds: [[BUFFER, 512]] });
    await block.complete();
    expect(driver.acknowledge()).toBe(R.IS_DHRS);
  });

  it('software reset posts the signature', () => {
    const { driver } = started();
    driver.issue(0, { command: 0, control: 4 });
    driver.issue(0, { command: 0, control: 0 });
    expect(driver.read(R.PX_CI)).toBe(0);
    expect([...driver.received(R.RFIS_D2H)].slice(0, 5)).toEqual([0x34, 0, 0x50, 1, 1]);
  });
});

describe('a CD drive', () => {
  it('reads sectors by PACKET, and remembers sense data for REQUEST SENSE', async () => {
    const { machine, cd } = started();
    cd.issue(0, {
      command: C.PACKET,
      features: 1,
      packet: [0x28, 0, 0, 0, 0, 5, 0, 0, 2, 0, 0, 0],
      prds: [[BUFFER, 4096]],
    });
    await settle();
    expect(cd.acknowledge()).toBe(R.IS_DHRS);
    expect([machine.memory.readU8(BUFFER), machine.memory.readU8(BUFFER + 4095)]).toEqual([5, 6]);
    cd.issue(0, { command: C.PACKET, packet: [0x28, 0, 0, 0, 1, 5, 0, 0, 2, 0, 0, 0], prds: [[BUFFER, 4096]] });
    await settle();
    expect(cd.acknowledge() & R.IS_TFES).toBe(R.IS_TFES);
    expect(cd.read(R.PX_TFD)).toBe(0x5451);
    cd.stop();
    cd.run();
    cd.issue(0, { command: C.PACKET, packet: [3, 0, 0, 0, 18, 0], prds: [[BUFFER, 18]] });
    await settle();
    expect([machine.memory.readU8(BUFFER + 2), machine.memory.readU8(BUFFER + 12)]).toEqual([5, 0x21]);
  });

  it('ejects, comes back empty, and takes another medium', async () => {
    const { machine, cd, drive } = started();
    const packet = async (bytes: readonly number[]): Promise<number> => {
      cd.stop();
      cd.run();
      cd.acknowledge();
      cd.issue(0, { command: C.PACKET, packet: bytes, prds: [[BUFFER, 64]] });
      await settle();
      return cd.read(R.PX_TFD) >> 12;
    };
    expect(await packet([0x00])).toBe(0);
    expect(await packet([0x1e, 0, 0, 0, 1])).toBe(0);
    expect(await packet([0x1b, 0, 0, 0, 2])).toBe(5);
    expect(await packet([0x1e, 0, 0, 0, 0])).toBe(0);
    expect(await packet([0x1b, 0, 0, 0, 2])).toBe(0);
    expect(await packet([0x00])).toBe(2);
    expect(drive.trayOpen).toBe(true);
    drive.remove();
    drive.insert(new MemoryBackend(new Uint8Array(4096).fill(0x77), { readOnly: true }));
    expect(await packet([0x4a, 1, 0, 0, 0x10, 0, 0, 0, 8])).toBe(0);
    expect(machine.memory.readU8(BUFFER + 4)).toBe(2);
    expect(await packet([0x00])).toBe(6);
    expect(await packet([0x00])).toBe(0);
    expect(await packet([0x28, 0, 0, 0, 0, 0, 0, 0, 0])).toBe(0);
  });
});

describe('the life cycle', () => {
  it('reset drops what is in flight and resolves when it is out', async () => {
    const { machine, driver, block } = started();
    driver.issue(0, { command: C.READ_DMA_EXT, lba: 0, count: 1, prds: [[BUFFER, 512]] });
    let done = false;
    const reset = machine.pci.reset();
    void Promise.resolve(reset).then(() => (done = true));
    await settle();
    expect(done).toBe(false);
    const sent = machine.interrupts.sent;
    await block.complete();
    expect(done).toBe(true);
    expect(machine.interrupts.sent).toBe(sent);
    expect(driver.read(R.PX_CI)).toBe(0);
  });

  it('a copy goes on with the commands that were in flight', async () => {
    const { machine, driver, block } = started();
    driver.issue(3, { command: C.READ_FPDMA_QUEUED, lba: 1, features: 1, queued: true, prds: [[BUFFER, 512]] });
    driver.issue(9, { command: C.WRITE_FPDMA_QUEUED, lba: 5, features: 1, queued: true, prds: [[BUFFER + 512, 512]] });
    const state = structuredClone(machine.pci.save());
    await block.complete();
    await block.complete();
    const copy = rig(machine.memory);
    copy.machine.pci.restore(state);
    expect(copy.block.waiting.map(({ what }) => what)).toEqual(['read 512', 'write 2560']);
    await copy.block.complete();
    await copy.block.complete();
    expect(copy.driver.read(R.PX_SACT)).toBe(0);
    expect(copy.driver.read(R.PX_IS)).toBe(R.IS_SDBS);
    await copy.device.pause();
    copy.device.resume();
  });

  it('pause waits for requests, and they are told before it resolves', async () => {
    const { driver, device, block } = started();
    driver.issue(0, { command: C.READ_FPDMA_QUEUED, lba: 1, features: 1, queued: true, prds: [[BUFFER, 512]] });
    const pause = device.pause();
    await block.complete();
    await pause;
    expect(driver.read(R.PX_SACT)).toBe(0);
    device.resume();
  });
});
