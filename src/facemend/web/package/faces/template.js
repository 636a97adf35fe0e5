// The five points that faces are aligned to: left eye, right eye, nose tip, mouth corners.
const SIDE = 512;
const POINTS = [ // published pixel positions at 512 px
  [192.98138, 239.94708],
  [318.90277, 240.1936],
  [256.63416, 314.01935],
  [201.26117, 371.41043],
  [313.08905, 371.15118],
];

/** As shares of the crop's side. */
export const TEMPLATE = POINTS.map((point) => point.map((value) => (value + 0.5) / SIDE));

/** In pixels of a crop of that side. */
export const templatePoints = (side) => TEMPLATE.map((point) => point.map((value) => value * side - 0.5));
