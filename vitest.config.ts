import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: 'unit',
          include: [
            'src/**/*.test.ts',
            'test/*.test.ts',
            'test/cli/**/*.test.ts',
            'test/oracles/**/*.test.ts',
          ],
          exclude: ['test/oracles/topology*.test.ts'],
          testTimeout: 30_000,
        },
      },
      {
        // Needs Linux, root and the network tools. Files run one after the other: labs share the machine's two cores.
        test: {
          name: 'lab',
          include: ['test/lab/**/*.test.ts', 'test/scenarios/**/*.test.ts', 'test/oracles/topology*.test.ts'],
          testTimeout: 120_000,
          hookTimeout: 120_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
