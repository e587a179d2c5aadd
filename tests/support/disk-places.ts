/** Where Linux finds a disk on each controller, one after the other from slot 3 on: below /sys/devices/pci0000:00. */
export const DISK_PLACES = {
  blk: '0000:00:03.0/virtio*/block/*',
  ahci: '0000:00:04.0/ata1/host*/target*/*/block/*',
  nvme: '0000:00:05.0/nvme/nvme*/nvme*n1',
  scsi: '0000:00:06.0/virtio*/host*/target*/*/block/*',
} as const;
