/** How text reports are drawn. The caller says what its terminal can show: nothing here looks at the process. */

export type Tint = 'bold' | 'dim' | 'red' | 'green' | 'yellow' | 'cyan';

export interface Style {
  /** At least 60; reports use what they get up to `maxColumns`. */
  readonly widthColumns: number;
  readonly unicode: boolean;
  /** Every step and command instead of the decisive ones. */
  readonly verbose: boolean;
  /** Below a break: the kernel's words and the nearest rule. */
  readonly explain?: true;
  readonly tint: (how: Tint, text: string) => string;
}

/** Plain ASCII without colours, 100 columns: for files and tests. */
export const plainStyle: Style = {
  widthColumns: 100,
  unicode: false,
  verbose: false,
  tint: (_, text) => text,
};

/** Longer lines are hard to read back to their start. */
const maxColumns = 140;

export const columns = (style: Style): number => Math.max(60, Math.min(maxColumns, style.widthColumns));

export interface Marks {
  readonly start: string;
  readonly bar: string;
  readonly end: string;
  readonly broken: string;
  readonly unsure: string;
  readonly missed: string;
  readonly ok: string;
  readonly arrow: string;
  readonly cut: string;
  readonly bullet: string;
}

const unicodeMarks: Marks = {
  start: '●',
  bar: '│',
  end: '●',
  broken: '✗',
  unsure: '?',
  missed: '○',
  ok: '✓',
  arrow: '→',
  cut: '…',
  bullet: '•',
};
const asciiMarks: Marks = {
  start: 'o',
  bar: '|',
  end: 'o',
  broken: 'x',
  unsure: '?',
  missed: '.',
  ok: '+',
  arrow: '->',
  cut: '~',
  bullet: '-',
};

export const marks = (style: Style): Marks => (style.unicode ? unicodeMarks : asciiMarks);

export const heading = (style: Style, text: string): string => style.tint('bold', text);

/** Cuts text into lines of at most `width` columns between words; a longer word keeps a line for itself. */
export function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  for (const paragraph of text.split('\n')) {
    let line = '';
    for (const word of paragraph.split(' ')) {
      if (line !== '' && line.length + 1 + word.length > width) {
        lines.push(line);
        line = word;
      } else line = line === '' ? word : `${line} ${word}`;
    }
    lines.push(line);
  }
  return lines;
}

/** Wrapped text, the first line behind `first`, the others indented as far as `first` is wide. */
export function hang(first: string, text: string, style: Style): string[] {
  const indent = ' '.repeat(first.length);
  return wrap(text, columns(style) - first.length).map(
    (line, index) => `${index === 0 ? first : indent}${line}`,
  );
}

/** Padded to `width`; longer text is cut in its middle, since names differ at both ends. */
export function cell(text: string, width: number, style: Style): string {
  if (text.length <= width) return text.padEnd(width);
  const { cut } = marks(style);
  const head = Math.ceil((width - cut.length) / 2);
  return `${text.slice(0, head)}${cut}${text.slice(text.length - (width - cut.length - head))}`;
}
