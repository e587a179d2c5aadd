/** Light or dark: as the system says, until the button is pressed. */
import { button } from './elements.ts';

const KEY = 'webhyve-theme';

function stored(): string | null {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}

export function watchTheme(changed: () => void): void {
  const root = document.documentElement;
  const saved = stored();
  if (saved === 'light' || saved === 'dark') root.dataset['theme'] = saved;
  button('theme').addEventListener('click', () => {
    const dark =
      (root.dataset['theme'] ?? (matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light')) === 'dark';
    root.dataset['theme'] = dark ? 'light' : 'dark';
    try {
      localStorage.setItem(KEY, root.dataset['theme']);
    } catch {
      // The choice lasts as long as the page.
    }
    changed();
  });
}
