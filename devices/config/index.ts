/** The command line and the configuration of a machine. */
export { type CpuidOverride } from './cpuid-overrides.ts';
export { BhyveExit, errnoText } from './errors.ts';
export { ConfigNode, ConfigTree } from './tree.ts';
export { parseMemorySize } from './memory-size.ts';
export { MAX_VCPUS, type Topology } from './topology.ts';
export {
  type CommandLineEnvironment,
  parseCommandLine,
  type ParsedCommandLine,
  treeFromVariables,
} from './parse-options.ts';
export { setKernel, type DirectKernel, type FwCfgItem } from './firmware-option.ts';
export type { LoaderProtocol } from './declarations/globals.ts';
export { declaration, notBuiltMessage, PCI_DEVICES } from '../catalog.ts';
export { LPC_DEVICES } from './declarations/lpc.ts';
export { GLOBAL_VARIABLES, WEBHYVE_VARIABLES } from './declarations/globals.ts';
export type { DeviceDeclaration, LpcDeclaration, VariableDeclaration } from './declare.ts';
export {
  type GdbSettings,
  type LoaderModule,
  type LoaderSettings,
  type LpcSettings,
  type MachineFlags,
  machineSettings,
  type MachineSettings,
  type NumaDomain,
  pciFunctions,
  type PciFunctionSettings,
} from './settings.ts';
export { renderReference } from './reference.ts';
export { COMMAND_LINE_OPTIONS, usageText } from './usage.ts';
