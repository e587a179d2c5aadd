/** What tests/core/jit-tiers.test.ts asks about the budget of what is compiled. */
export { HEAT_STEP, WARM, earn, hotNow, spend } from '../../core-as/jit/heat';
