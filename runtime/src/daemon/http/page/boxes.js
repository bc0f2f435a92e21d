// Where the detector found things, over the picture of a caption.

/** Of the picture's height: thickness of a line, height of a letter. */
const LINE = 0.006;
const LETTER = 0.045;
const COLOUR = "#ffc857";
const INK = "#12131a";

/** Draws boxes, given as shares of the picture's width and height, on a canvas that shows it. */
export function draw(canvas, boxes) {
  const context = canvas.getContext("2d");
  const { width, height } = canvas;
  const letter = Math.max(12, height * LETTER);
  context.lineWidth = Math.max(2, height * LINE);
  context.strokeStyle = COLOUR;
  context.font = `600 ${letter}px system-ui, sans-serif`;
  context.textBaseline = "bottom";
  for (const box of boxes) {
    const [x, y] = [box.left * width, box.top * height];
    const bottom = y + box.height * height;
    context.strokeRect(x, y, box.width * width, box.height * height);
    context.fillStyle = COLOUR;
    context.fillRect(x, bottom - letter * 1.3, context.measureText(box.word).width + letter * 0.6, letter * 1.3);
    context.fillStyle = INK;
    context.fillText(box.word, x + letter * 0.3, bottom - letter * 0.1);
  }
}
