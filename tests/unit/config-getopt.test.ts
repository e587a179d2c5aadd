import { describe, expect, it } from 'vitest';
import { Getopt } from '../../devices/config/getopt.ts';

/** Options as `X` or `X=argument`, errors as `!message`, then the operands. */
function scan(optstring: string, ...argv: string[]): [events: string[], operands: readonly string[]] {
  const getopt = new Getopt(argv, optstring);
  const events: string[] = [];
  for (let event = getopt.next(); event; event = getopt.next()) {
    if (event.kind === 'error') events.push(`!${event.message}`);
    else events.push(event.argument === '' ? event.option : `${event.option}=${event.argument}`);
  }
  return [events, getopt.operands];
}

describe('getopt', () => {
  it.each<[string, string[], string[], string[]]>([
    ['single options', ['-A', '-H', 'vm'], ['A', 'H'], ['vm']],
    ['a cluster', ['-AHw', 'vm'], ['A', 'H', 'w'], ['vm']],
    ['an attached argument', ['-c2', 'vm'], ['c=2'], ['vm']],
    ['a separate argument', ['-c', '2', 'vm'], ['c=2'], ['vm']],
    ['an argument at the end of a cluster', ['-Hwl', 'bootrom,/x', 'vm'], ['H', 'w', 'l=bootrom,/x'], ['vm']],
    ['an argument that looks like an option', ['-c', '-H', 'vm'], ['c=-H'], ['vm']],
    ['an argument that is two dashes', ['-c', '--', 'vm'], ['c=--'], ['vm']],
    ['an empty argument', ['-c', '', '-H'], ['c', 'H'], []],
    ['the end at two dashes', ['-A', '--', '-H'], ['A'], ['-H']],
    ['the end at the first operand', ['-A', 'vm', '-H'], ['A'], ['vm', '-H']],
    ['a lone dash as operand', ['-A', '-', '-H'], ['A'], ['-', '-H']],
    ['an unknown option and goes on in the cluster', ['-AzH'], ['A', '!illegal option -- z', 'H'], []],
    ['a colon, which is no option', ['-:'], ['!illegal option -- :'], []],
    ['a dash inside a cluster', ['-A-'], ['A', '!illegal option -- -'], []],
    ['a missing argument', ['-A', '-c'], ['A', '!option requires an argument -- c'], []],
    ['no words at all', [], [], []],
  ])('reads %s', (_title, argv, events, operands) => {
    expect(scan('AHwc:l:', ...argv)).toEqual([events, operands]);
  });
});
