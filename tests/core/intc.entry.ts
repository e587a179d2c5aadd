// What the tests of core-as/intc call.
export * from '../../core-as/intc/platform';
export { picAcknowledge, picOutput, picSetLine } from '../../core-as/intc/pic';
export { lapicProcessorPriority } from '../../core-as/intc/lapic';
