/** In place of d3-transition, which d3-brush imports for brushes that are animated: none is here. */

export function interrupt(): void {}
