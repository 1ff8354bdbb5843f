/** Layer 3 inside one namespace: sending, receiving, forwarding, delivering. The order of checks is the kernel's. */
export { deliver } from './ip-deliver.ts';
export { ipIn } from './ip-receive.ts';
export { send, sendRouted } from './ip-send.ts';
