/** From a card's variables to the settings of the user-mode network behind it. */
import type { NetworkSettings } from '../../backends/network.ts';
import { DEFAULT_MTU } from '../ethernet.ts';
import { parseForwardRule } from './forward-rule.ts';
import { parseAllowed } from './policy.ts';
import { DEFAULT_LIMITS, type NatSettings } from './settings.ts';

/** The variables have been checked (config/network-backend.ts). */
export function natSettings(settings: NetworkSettings): NatSettings {
  return {
    policy: {
      open: settings.open,
      allowed: settings.allow === undefined ? [] : parseAllowed(settings.allow).prefixes,
    },
    forwards: (settings.hostfwd?.split(';') ?? []).flatMap((rule) => parseForwardRule(rule) ?? []),
    mtu: settings.mtu ?? DEFAULT_MTU,
    bootFile: settings.bootfile,
    ipxeFile: settings.ipxe,
    hostName: undefined,
    limits: DEFAULT_LIMITS,
  };
}
