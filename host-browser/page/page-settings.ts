/** What a page was made for: the JSON in its #webhyve-page, and the command line in its address. */
import type { PageData } from '../../devices/publish/page-data.ts';
import { joinWords } from '../shell-words.ts';

export interface PageSettings {
  readonly commandLine: string;
  readonly title: string | undefined;
  readonly autostart: boolean;
  readonly assets: string;
  readonly serviceWorker: string | undefined;
}

/** Reads both; `#args=...` after the page's address takes the place of the page's own command line. */
export function readPageSettings(): PageSettings {
  const text = document.getElementById('webhyve-page')?.textContent ?? '';
  const data = JSON.parse(text.trim() === '' ? '{}' : text) as PageData;
  const fragment = new URLSearchParams(location.hash.slice(1));
  const given = fragment.get('args');
  return {
    commandLine: given ?? joinWords(data.argv ?? []),
    title: data.title,
    // A link to somewhere else's command line starts nothing by itself.
    autostart: (data.autostart ?? false) && given === null,
    assets: data.assets ?? '.',
    serviceWorker: data.serviceWorker,
  };
}
