import type { Command } from 'commander';
import { onInterrupt, out, progress } from './context.ts';
import { exitCode } from './errors.ts';

export function register(program: Command): void {
  program
    .command('demo')
    .description('build a pod network on this kernel, break it, find out why, heal it, remove it')
    .option(
      '--fault <name>',
      'the fault to show (podpath lab faults lists them)',
      'node-firewall-drops-tunnel',
    )
    .option('--replay', 'diagnose the recording that comes with podpath instead of building a lab', false)
    .action(async (options: { fault: string; replay: boolean }) => {
      const { playDemo } = await import('./demo-play.ts');
      const stop = new AbortController();
      const playing = playDemo({ ...options, signal: stop.signal, show: out, progress });
      const forget = onInterrupt(async () => {
        stop.abort();
        // Its own clean-up removes the lab.
        await playing.catch(() => {});
      });
      try {
        process.exitCode = (await playing) ? exitCode.ok : exitCode.found;
      } catch (error) {
        // Whatever fails because the user pressed Ctrl-C is no news.
        if (!stop.signal.aborted) throw error;
      } finally {
        forget();
      }
    });
}
