export function bundleBrowser(options: { core: string; outdir: string }): Promise<void>;
