// What the tests of core-as/intc call.
export * from '../../core-as/intc/platform';
export { allowBlocking } from '../../core-as/intc/lock';
export { picAcknowledge, picOutput, picSetLine } from '../../core-as/intc/pic';
export { acknowledgeNmi, lapicProcessorPriority, raiseNmi } from '../../core-as/intc/lapic';
