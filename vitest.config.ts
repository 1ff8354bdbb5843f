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
      {
        // Needs what test/cluster/host.ts names. All files share one real cluster, so they run one after the other. The first that
        // wants it makes it, and may have to build Kubernetes before.
        test: {
          name: 'cluster',
          include: ['test/cluster/**/*.test.ts'],
          globalSetup: ['test/cluster/global-setup.ts'],
          testTimeout: 180_000,
          hookTimeout: 45 * 60_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
