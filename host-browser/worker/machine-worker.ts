/** Entry of the Worker that holds one machine: its devices, and its processors where they have no threads of their own. */
import { workerScope } from '../spawn-worker.ts';
import { MachineServer } from './machine-server.ts';

const server = new MachineServer({
  postMessage: (message, transfer) => workerScope.postMessage(message, transfer),
  addEventListener: (type, listener) => workerScope.addEventListener(type, listener),
});
// Referred to from the worker's scope, so that it lives as long as the worker.
Object.assign(globalThis, { webhyveMachine: server });
