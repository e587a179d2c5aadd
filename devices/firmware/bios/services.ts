/**
 * services.asm, assembled. Written by tests/unit/bios-services.test.ts: run it with BIOS_SERVICES=write after a change, where nasm is
 * installed.
 */
export const SERVICES: Uint8Array = Uint8Array.from(
  atob(
    [
      'FhBbEJsQhxCREKcRvBE/EuIT8RPaErA05kMxwI7Y5kDmQOQhJP7mIYsWAASF0nQYg8IDsIPug+oDsAHuQrAA7oPCArAD7kLujtuO',
      'w47jjuuO04nMg8MgU2oAy1AeMcCO2Gb/BmwEZoE+bASwABgAcg1mxwZsBAAAAAD+BnAEzRywIOYgH1jPHjHAjtihEAQfzx4xwI7Y',
      'oRMEH8/8YB4x7Y7dieWA/A50JoD8AnQpgPwDdEqA/Ah0UoD8D3RUgPwAdFqA/AZ0Z4D8B3RiH2HP6J4A6GkA6/U7FlAEdO+JFlAE',
      'vvkT6LQAiPDonwCwO+h/AIjQ6JUAsEjodQDrz6FQBIlGDMdGDgcG68LHRhAgB+u7x0YQA1DGRgsA67CogHWsvvwT6HUAxwZQBAAA',
      '656EwHWahcl1lr4EFOhfAOuOixZQBDwNdCM8CnQRPAh0Fjwgchn+woD6UHISsgCA/hhzC/7G6weA6gFzArIAiRZQBMNSUIsWAASF',
      '0nQOg8IF7KggdPuD6gVYUO5YWsP+wNQKBTAwhsTo2f+GxOvVLqyEwHQF6Mz/6/XDVYnltAGATgYBXc+0huv2gGYG/l3PVYnlPSDo',
      'dDo9Aeh0JoD8iHQbPQEkdA09AiR0DD0DJHXVuwMAtADr0rgBAOvNLqEtFOvHLqEvFInBLoseMRSJ2uu4ZoH6UEFNU3WrZoP5FHKl',
      'LmYPtwYzFGY5w3OZVldr8xSBxjUUuQoA/PMupV9eQznDcgNmMdtmidBmuRQAAADpd/9VieVTHjHbjtv2xO90HoD8AXQzgPwRdC6A',
      '/AJ0BYD8EnUDoBcEH1tdz/v0+ugsAHT4i4cABIPDAoP7PnIDux4AiR4aBOvfgGYGv+gOAHQGi4cABOvQgE4GQOvKix4aBDseHAR1',
      'NVBSixYABIXSdCGDwgXsqAF0GYPqBey0AImHAASDwwKD+z5yA7seAIkeHARaWIseGgQ7HhwEw1WJ5YD8AA+EmQCA/AIPhKkAgPwE',
      'D4S/AID8sQ+Fuf48AXRsPAhyYzwNd19mUFJmD7fDZsHgCGYNAAAAgIn6iNAk/Lr4DGbvifqD4gOByvwMgH78CXIddCCAfvwLch9m',
      'ich0DYB+/A1yBGbv6xXv6xLu6w/siMHrCu2JwesFZu1micFaZli0AOlS/rSB6UP+ZrpQQ0kguAEAuxACLooOLBTpOf4eMcmO2YsW',
      'bASLDm4EsACGBnAEH+ki/ug8ALAE6EEAiMWwAug6AIjBsADoMwCIxrIA6QX+6B8AsDLoJACIxbAJ6B0AiMGwCOgWAIjGsAfoDwCI',
      'wunj/bAK6AUAqIB198PmcORxw/wxwI7YvgkU6K79+vTr/Lr5DLAG7uv0G1sAG1tIG1sySgAbWzJKAA0KVGhlcmUgaXMgbm90aGlu',
      'ZyBlbHNlIHRvIGJvb3QuDQoA',
    ].join(''),
  ),
  (character) => character.charCodeAt(0),
);
