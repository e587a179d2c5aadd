/** How large a display is drawn: so that its pixels stay sharp. */

/** From this density on single pixels of the screen cannot be told apart, and any scale looks sharp. */
const FINE_DENSITY = 2;

export interface Scaling {
  /** Pixels of the page (CSS). */
  readonly width: number;
  readonly height: number;
  /** Every pixel of the display is a square of the screen's pixels. */
  readonly exact: boolean;
}

/**
 * The largest size that fits into a box of the page. On ordinary screens each pixel of the display becomes a square of whole pixels; a display that does
 * not fit is made smaller, and on fine screens any scale is used.
 */
export function scaleDisplay(
  display: { readonly width: number; readonly height: number },
  box: { readonly width: number; readonly height: number },
  density: number,
): Scaling {
  const fit = Math.min((box.width * density) / display.width, (box.height * density) / display.height);
  if (!Number.isFinite(fit) || fit <= 0) return { width: 0, height: 0, exact: false };
  const whole = Math.floor(fit);
  const scale = whole >= 1 && density < FINE_DENSITY ? whole : fit;
  return {
    width: (display.width * scale) / density,
    height: (display.height * scale) / density,
    exact: Number.isInteger(scale),
  };
}
