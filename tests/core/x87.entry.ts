/** What tests/core/x87.test.ts calls. */
export * from '../../core-as/fpu/x87';
