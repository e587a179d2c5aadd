/** `pcireg.NAME`: identification registers that the configuration sets. */
import { PCI_REGISTER } from '../config/variable-types.ts';
import { DeviceError, type DeviceVariables } from '../device-context.ts';

/** The value of `pcireg.NAME`, or the device's own. Throws {@link DeviceError} when it is no hexadecimal number. */
export function pciRegister(variables: DeviceVariables, name: string, fallback: number): number {
  const text = variables.get(`pcireg.${name}`);
  if (text === undefined) return fallback;
  if (PCI_REGISTER.check(text, name) !== undefined) throw new DeviceError(`Invalid value ${text} for pcireg.${name}`);
  return PCI_REGISTER.parse(text);
}
