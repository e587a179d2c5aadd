/**
 * The page's first script. It is small, since a server that sends no headers has the page loaded twice, and it has what every machine needs
 * on its way before the rest of the page is.
 */
import { defaultAssets } from '../assets.ts';
import { prepareWorker } from '../prepared-worker.ts';
import { isolate } from './isolation.ts';
import { readPageSettings } from './page-settings.ts';

const settings = readPageSettings();
if (await isolate(settings.serviceWorker)) {
  prepareWorker(defaultAssets(settings.assets));
  await import('./main.ts');
}
