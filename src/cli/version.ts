import type { Command } from 'commander';
import manifest from '../../package.json' with { type: 'json' };
import { out, withOutputOption } from './context.ts';

/** Version of podpath, from package.json. */
export const version: string = manifest.version;

export function register(program: Command): void {
  withOutputOption(
    program.command('version').description('print the version of podpath and of what it runs on'),
  ).action((options: { output: string }) => {
    const { platform, arch } = process;
    if (options.output === 'json') {
      out(
        JSON.stringify(
          {
            apiVersion: 'podpath.dev/v1alpha1',
            kind: 'Version',
            version,
            node: process.version,
            platform,
            arch,
          },
          null,
          2,
        ),
      );
    } else out(`podpath ${version} (Node ${process.version}, ${platform} ${arch})`);
  });
}
