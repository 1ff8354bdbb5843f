/** Loads rule sets of which this nft or kernel refuses some lines. */
import { exec } from '../../src/system/exec.ts';
import { inNetns } from './netfilter-support.ts';

/** Replaces all rules of the namespace. Lines that are refused are left out, the first of each try; they are returned. */
export async function loadNft(netns: string, text: string): Promise<readonly string[]> {
  const lines = text.split('\n');
  const refused: string[] = [];
  for (let tries = 0; tries < 120; tries++) {
    const loaded = await exec(inNetns(netns, ['nft', '-f', '-']), {
      input: `flush ruleset\n${lines.join('\n')}`,
    });
    if (loaded.code === 0) return refused;
    const at = Number(/stdin:(\d+):.*Error/.exec(loaded.stderr)?.[1]) - 2;
    const line = lines[at];
    if (line === undefined) throw new Error(loaded.stderr);
    refused.push(`${line.trim()}: ${/Error: ([^\n]*)/.exec(loaded.stderr)?.[1] ?? ''}`);
    lines[at] = '';
  }
  throw new Error(`too many lines are refused: ${refused.slice(0, 3).join('\n')}`);
}
