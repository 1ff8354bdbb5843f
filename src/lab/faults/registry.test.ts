import { readdirSync } from 'node:fs';
import { expect, test } from 'vitest';
import { faults } from './registry.ts';

/** Files of this folder that hold no fault. */
const helpers = ['device', 'fault', 'flows', 'kernel', 'mtu', 'policies', 'registry'];

test('every file of the folder that holds a fault is listed, in order, under its own name', () => {
  const files = readdirSync(new URL('.', import.meta.url))
    .filter((file) => !file.endsWith('.test.ts'))
    .map((file) => file.slice(0, -'.ts'.length));
  expect(faults.map((fault) => fault.name)).toEqual(
    files.filter((file) => !helpers.includes(file)).toSorted(),
  );
});
