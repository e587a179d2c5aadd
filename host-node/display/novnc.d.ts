/** What viewer.ts uses of noVNC, which comes without types (its docs/API.md). */
declare module '@novnc/novnc' {
  interface RfbEvents {
    connect: CustomEvent;
    disconnect: CustomEvent<{ readonly clean: boolean }>;
    credentialsrequired: CustomEvent<{ readonly types: readonly string[] }>;
    securityfailure: CustomEvent<{ readonly status: number; readonly reason?: string }>;
  }

  export default class RFB {
    constructor(target: HTMLElement, url: string);
    scaleViewport: boolean;
    focus(): void;
    sendCredentials(credentials: { readonly password: string }): void;
    addEventListener<K extends keyof RfbEvents>(type: K, listener: (event: RfbEvents[K]) => void): void;
  }
}
