/** The page of rfb-web.ts in the browser: noVNC on the whole window. */
import RFB from '@novnc/novnc';

const screen = document.getElementById('screen');
const status = document.getElementById('status');

function tell(text: string): void {
  if (status) status.textContent = text;
}

const address = new URL('rfb', location.href);
address.protocol = location.protocol === 'https:' ? 'wss:' : 'ws:';
address.searchParams.set('token', new URLSearchParams(location.search).get('token') ?? '');

if (screen) {
  tell('connecting');
  const rfb = new RFB(screen, address.href);
  rfb.scaleViewport = true;
  rfb.addEventListener('connect', () => {
    tell('');
    rfb.focus();
  });
  rfb.addEventListener('credentialsrequired', () => {
    rfb.sendCredentials({ password: prompt('Password of the display') ?? '' });
  });
  rfb.addEventListener('securityfailure', (event) => tell(event.detail.reason ?? 'refused'));
  rfb.addEventListener('disconnect', () => tell('disconnected'));
}
