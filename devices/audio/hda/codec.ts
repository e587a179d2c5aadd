/**
 * bhyve's codec: an audio function group with a line-out (DAC 2, pin 3) and a line-in (ADC 4, pin 5), of which a machine has those it was
 * configured with (HDA specification 1.0a, chapter 7).
 */
import type { StateFields } from '../../platform/state-fields.ts';
import type { StateValue } from '../../snapshot.ts';

const ROOT = 0;
const FUNCTION_GROUP = 1;
const DAC = 2;
const LINE_OUT = 3;
const ADC = 4;
const LINE_IN = 5;
const NODES = 6;

/** Verbs with 4 and with 12 bits (7.3.3). */
const GET_FORMAT = 0xa;
const SET_FORMAT = 0x2;
const GET_AMPLIFIER = 0xb;
const SET_AMPLIFIER = 0x3;
const GET_PARAMETER = 0xf00;
const GET_CONNECTION_SELECT = 0xf01;
const GET_CONNECTION_LIST = 0xf02;
const GET_POWER = 0xf05;
const SET_POWER = 0x705;
const GET_STREAM = 0xf06;
const SET_STREAM = 0x706;
const GET_PIN_CONTROL = 0xf07;
const SET_PIN_CONTROL = 0x707;
const GET_UNSOLICITED = 0xf08;
const SET_UNSOLICITED = 0x708;
const GET_PIN_SENSE = 0xf09;
const GET_CONFIGURATION = 0xf1c;
const FUNCTION_RESET = 0x7ff;

/** Parameters (7.3.4). */
const VENDOR_ID = 0x00;
const REVISION_ID = 0x02;
const NODE_COUNT = 0x04;
const FUNCTION_TYPE = 0x05;
const WIDGET_CAPABILITIES = 0x09;
const PCM_CAPABILITIES = 0x0a;
const STREAM_FORMATS = 0x0b;
const PIN_CAPABILITIES = 0x0c;
const INPUT_AMPLIFIER = 0x0d;
const CONNECTION_LENGTH = 0x0e;
const POWER_STATES = 0x0f;
const OUTPUT_AMPLIFIER = 0x12;

const CODEC_VENDOR = 0x0000_8086;
const CODEC_REVISION = 0x0000_ffff;
const TYPE_AUDIO = 1;
const STEREO = 0x001;
const HAS_INPUT_AMPLIFIER = 0x002;
const HAS_OUTPUT_AMPLIFIER = 0x004;
const AMPLIFIER_OVERRIDE = 0x008;
const FORMAT_OVERRIDE = 0x010;
const HAS_CONNECTION_LIST = 0x100;
const WIDGET_OUTPUT = 0 << 20;
const WIDGET_INPUT = 1 << 20;
const WIDGET_PIN = 4 << 20;
/** 16 bits, 16 to 192 kHz. */
const WIDGET_PCM = (0x02 << 16) | 0x7fc;
const GROUP_PCM = (0x1f << 16) | 0x7ff;
const FORMAT_PCM = 1;
const PIN_OUTPUT = 0x10;
const PIN_INPUT = 0x20;
const GAIN_STEPS = 0x4a;
/** Steps of 0.75 dB up to 0 dB; muting is possible. */
const AMPLIFIER = ((1 << 31) | (3 << 16) | (GAIN_STEPS << 8) | GAIN_STEPS) >>> 0;
const GAIN_MASK = 0x7f;
const MUTE = 0x80;
/** D0 and D3. */
const POWER_D0_D3 = 0x09;
/** Jacks: line-out, black, association 1; line-in, red, association 2. Neither tells what is plugged in. */
const CONFIGURE_LINE_OUT = (0x0 << 20) | (0x1 << 16) | (0x1 << 12) | (0x1 << 8) | (0x1 << 4);
const CONFIGURE_LINE_IN = (0x8 << 20) | (0x1 << 16) | (0x5 << 12) | (0x1 << 8) | (0x2 << 4);

/** What a converter or pin remembers. */
interface Node {
  format: number;
  stream: number;
  pinControl: number;
  power: number;
  /** Left and right: gain and {@link MUTE}. */
  readonly gains: [left: number, right: number];
}

function newNode(): Node {
  return { format: 0x0011, stream: 0, pinControl: 0, power: 0, gains: [GAIN_STEPS, GAIN_STEPS] };
}

/** How a converter is set up. */
export interface Converter {
  /** Stream tag, 0 for none, and first channel. */
  readonly stream: number;
  /** Factors that its amplifier applies, 0 to 1. */
  readonly gains: readonly [left: number, right: number];
}

export class HdaCodec {
  /** Verbs and nodes that the codec does not have. */
  unknownVerbs = 0;
  readonly #first: number;
  readonly #last: number;
  #nodes = Array.from({ length: NODES }, newNode);

  constructor(plays: boolean, records: boolean) {
    this.#first = plays ? DAC : ADC;
    this.#last = records ? LINE_IN : LINE_OUT;
  }

  /** The playing converter. */
  get output(): Converter {
    return this.#converter(DAC);
  }

  /** The recording converter. */
  get input(): Converter {
    return this.#converter(ADC);
  }

  #converter(node: number): Converter {
    const { stream, gains } = this.#node(node);
    return { stream: stream >> 4, gains: [factor(gains[0]), factor(gains[1])] };
  }

  #node(node: number): Node {
    return this.#nodes[node] ?? newNode();
  }

  #has(node: number): boolean {
    return node <= FUNCTION_GROUP || (node >= this.#first && node <= this.#last);
  }

  /** Answers a command word: codec address, node, verb and payload. The response to what it does not know is 0. */
  command(word: number): number {
    const node = (word >>> 20) & 0xff;
    if (!this.#has(node)) {
      this.unknownVerbs++;
      return 0;
    }
    const short = (word >>> 16) & 0xf;
    const payload = word & 0xffff;
    switch (short) {
      case GET_FORMAT:
        return this.#node(node).format;
      case SET_FORMAT:
        this.#node(node).format = payload;
        return 0;
      case GET_AMPLIFIER:
        return this.#node(node).gains[payload & 0x2000 ? 0 : 1];
      case SET_AMPLIFIER:
        this.#setGain(node, payload);
        return 0;
    }
    return this.#longVerb(node, (word >>> 8) & 0xfff, word & 0xff);
  }

  #setGain(node: number, payload: number): void {
    const { gains } = this.#node(node);
    const gain = Math.min(payload & GAIN_MASK, GAIN_STEPS) | (payload & MUTE);
    if (payload & 0x2000) gains[0] = gain;
    if (payload & 0x1000) gains[1] = gain;
  }

  #longVerb(node: number, verb: number, payload: number): number {
    const state = this.#node(node);
    switch (verb) {
      case GET_PARAMETER:
        return this.#parameter(node, payload);
      case GET_CONNECTION_LIST:
        if (payload !== 0) return 0;
        return node === LINE_OUT ? DAC : node === ADC ? LINE_IN : 0;
      case GET_CONNECTION_SELECT:
      case GET_UNSOLICITED:
      case SET_UNSOLICITED:
        return 0;
      case GET_PIN_SENSE:
        return 0x8000_0000;
      case GET_POWER:
        return state.power | (state.power << 4);
      case SET_POWER:
        state.power = payload & 0xf;
        return 0;
      case GET_STREAM:
        return state.stream;
      case SET_STREAM:
        state.stream = payload;
        return 0;
      case GET_PIN_CONTROL:
        return state.pinControl;
      case SET_PIN_CONTROL:
        state.pinControl = payload;
        return 0;
      case GET_CONFIGURATION:
        return node === LINE_OUT ? CONFIGURE_LINE_OUT : node === LINE_IN ? CONFIGURE_LINE_IN : 0;
      case FUNCTION_RESET:
        this.reset();
        return 0;
      default:
        this.unknownVerbs++;
        return 0;
    }
  }

  #parameter(node: number, parameter: number): number {
    if (node === ROOT) {
      if (parameter === VENDOR_ID) return CODEC_VENDOR;
      if (parameter === REVISION_ID) return CODEC_REVISION;
      return parameter === NODE_COUNT ? (FUNCTION_GROUP << 16) | 1 : 0;
    }
    if (node === FUNCTION_GROUP) return this.#groupParameter(parameter);
    const isPin = node === LINE_OUT || node === LINE_IN;
    switch (parameter) {
      case WIDGET_CAPABILITIES:
        return widgetCapabilities(node);
      case PCM_CAPABILITIES:
        return isPin ? 0 : WIDGET_PCM;
      case STREAM_FORMATS:
        return isPin ? 0 : FORMAT_PCM;
      case PIN_CAPABILITIES:
        return node === LINE_OUT ? PIN_OUTPUT : node === LINE_IN ? PIN_INPUT : 0;
      case INPUT_AMPLIFIER:
        return node === ADC ? AMPLIFIER : 0;
      case OUTPUT_AMPLIFIER:
        return node === DAC ? AMPLIFIER : 0;
      case CONNECTION_LENGTH:
        return node === LINE_OUT || node === ADC ? 1 : 0;
      default:
        return 0;
    }
  }

  #groupParameter(parameter: number): number {
    switch (parameter) {
      case NODE_COUNT:
        return (this.#first << 16) | (this.#last - this.#first + 1);
      case FUNCTION_TYPE:
        return TYPE_AUDIO;
      case PCM_CAPABILITIES:
        return GROUP_PCM;
      case STREAM_FORMATS:
        return FORMAT_PCM;
      case POWER_STATES:
        return POWER_D0_D3;
      default:
        return 0;
    }
  }

  reset(): void {
    this.#nodes = Array.from({ length: NODES }, newNode);
  }

  save(): { readonly [field: string]: StateValue } {
    const nodes = this.#nodes.flatMap(({ format, stream, pinControl, power, gains }) => [
      ...[format, stream, pinControl, power, ...gains],
    ]);
    return { nodes };
  }

  prepareRestore(fields: StateFields): () => void {
    const values = fields.integers('nodes', NODES * 6, 0xffff);
    return () => {
      this.#nodes = Array.from({ length: NODES }, (_, index) => {
        const [format = 0, stream = 0, pinControl = 0, power = 0, left = 0, right = 0] = values.slice(index * 6);
        return {
          format,
          stream: stream & 0xff,
          pinControl: pinControl & 0xff,
          power: power & 0xf,
          gains: [left & 0xff, right & 0xff],
        };
      });
    };
  }
}

/** Steps of 0.75 dB below full. */
function factor(gain: number): number {
  if (gain & MUTE) return 0;
  const steps = GAIN_STEPS - (gain & GAIN_MASK);
  return steps <= 0 ? 1 : 10 ** ((-0.75 * steps) / 20);
}

function widgetCapabilities(node: number): number {
  switch (node) {
    case DAC:
      return WIDGET_OUTPUT | FORMAT_OVERRIDE | AMPLIFIER_OVERRIDE | HAS_OUTPUT_AMPLIFIER | STEREO;
    case LINE_OUT:
      return WIDGET_PIN | HAS_CONNECTION_LIST | STEREO;
    case ADC:
      return WIDGET_INPUT | HAS_CONNECTION_LIST | FORMAT_OVERRIDE | AMPLIFIER_OVERRIDE | HAS_INPUT_AMPLIFIER | STEREO;
    default:
      return WIDGET_PIN | STEREO;
  }
}
