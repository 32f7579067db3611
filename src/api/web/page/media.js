// What is sent: camera and microphone, or a drawn picture where there are none.

const FRAMES_PER_SECOND = 15;
const [WIDTH, HEIGHT] = [640, 480];

/**
 * @param {() => string} label what is written into a drawn picture
 * @returns {Promise<{stream: MediaStream, isDrawn: boolean, why?: string, end: () => void}>}
 */
export async function open(withCamera, label) {
  if (!withCamera) return draw(label);
  try {
    const stream = await camera();
    return { stream, isDrawn: stream.getVideoTracks().length === 0, end: () => stop(stream) };
  } catch (error) {
    return { ...draw(label), why: explain(error) };
  }
}

async function camera() {
  if (!navigator.mediaDevices) throw new DOMException('', 'NotSecure');
  const video = { width: { ideal: 1280 }, height: { ideal: 720 }, facingMode: 'user' };
  return navigator.mediaDevices.getUserMedia({ video, audio: true });
}

function explain({ name }) {
  const reasons = {
    NotAllowedError: 'The browser keeps the camera from this page',
    NotFoundError: 'There is no camera with a microphone here',
    NotReadableError: 'Another program uses the camera',
    NotSecure: 'Browsers give the camera only to pages over HTTPS or of this machine',
  };
  return `${reasons[name] ?? 'The camera does not work'}: a drawn picture is sent.`;
}

/** A picture that visibly lives: one sees at once whether it arrives, and how late. */
function draw(label) {
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [WIDTH, HEIGHT];
  const pen = canvas.getContext('2d');
  const hue = Math.floor(Math.random() * 360);
  const paint = () => {
    const time = performance.now() / 1000;
    const sky = pen.createLinearGradient(0, 0, WIDTH, HEIGHT);
    sky.addColorStop(0, `hsl(${hue} 55% 32%)`);
    sky.addColorStop(1, `hsl(${hue + 60} 60% 18%)`);
    pen.fillStyle = sky;
    pen.fillRect(0, 0, WIDTH, HEIGHT);
    for (let ball = 0; ball < 7; ball += 1) {
      const angle = time * (0.5 + ball / 9) + ball;
      pen.fillStyle = `hsl(${hue + ball * 24} 80% 62% / .75)`;
      pen.beginPath();
      pen.arc(WIDTH / 2 + Math.cos(angle) * 230, HEIGHT / 2 + Math.sin(angle * 1.3) * 150, 22 + ball * 4, 0, Math.PI * 2);
      pen.fill();
    }
    pen.fillStyle = '#fff';
    pen.textAlign = 'center';
    pen.font = '600 54px system-ui, sans-serif';
    pen.fillText(new Date().toLocaleTimeString(), WIDTH / 2, HEIGHT / 2);
    pen.font = '28px system-ui, sans-serif';
    pen.fillText(label(), WIDTH / 2, HEIGHT / 2 + 52);
  };
  paint();
  // Not an animation frame: these stop in a tab behind another, and the second tab is the point.
  const timer = setInterval(paint, 1000 / FRAMES_PER_SECOND);
  const stream = canvas.captureStream(FRAMES_PER_SECOND);
  return { stream, isDrawn: true, end: () => { clearInterval(timer); stop(stream); } };
}

function stop(stream) {
  for (const track of stream.getTracks()) track.stop();
}
