/** Layouts by the names that -K takes: those of bhyve's and vt(4)'s key maps. */
import { KeyboardLayout, usLayout } from './keyboard-layout.ts';

/** Four rows each, as KeyboardLayout.fromRows() reads them. */
const ROWS: Readonly<Record<string, readonly [string, string, string, string]>> = {
  be: [
    '²³ &1| é2@ "3# \'4 (5 §6^ è7 !8 ç9{ à0} )° -_',
    'a zZ eE€ r t y u i o p †^†¨[ $*]',
    'q s d f g h j k l m ù%†´ µ£†`',
    '<>\\ w x c v b n ,? ;. :/ =+†~',
  ],
  br: [
    '\'" 1!¹ 2@² 3#³ 4$£ 5%¢ 6†¨¬ 7& 8* 9( 0) -_ =+§',
    'qQ/ wW? eE° r t y u i o p †´†` [{ª',
    'a s d f g h j k l ç †~†^ ]}º',
    '\\| z x cC₢ v b n m ,< .> ;:',
  ],
  ch: [
    '§° 1+¦ 2"@ 3*# 4ç 5% 6&¬ 7/| 8(¢ 9) 0= \'?†´ †^†`†~',
    'q w eE€ r t z u i o p üè[ †¨!]',
    'a s d f g h j k l öé äà{ $£}',
    '<>\\ y x c v b n m ,; .: -_',
  ],
  'ch-fr': [
    '§° 1+¦ 2"@ 3*# 4ç 5% 6&¬ 7/| 8(¢ 9) 0= \'?†´ †^†`†~',
    'q w eE€ r t z u i o p èü[ †¨!]',
    'a s d f g h j k l éö àä{ $£}',
    '<>\\ y x c v b n m ,; .: -_',
  ],
  cz: [
    ';†°` +1! ě2@ š3# č4$ ř5% ž6^ ý7& á8* í9{ é0} =% †´†ˇ',
    'qQ\\ wW| eE€ r t z u i o p ú/[ )(]',
    'aA~ sSđ dDĐ fF[ gG] h j kKł lLŁ ů"$ §! †¨\'',
    '\\| yY° xX# cC& vV@ bB{ nN} mM^ ,?< .:> -_*',
  ],
  de: [
    '†^° 1! 2"² 3§³ 4$ 5% 6& 7/{ 8([ 9)] 0=} ß?\\ †´†`',
    'qQ@ w eE€ r t z u i o p ü +*~',
    "a s d f g h j k l ö ä #'",
    '<>| y x c v b n mMµ ,; .: -_',
  ],
  dk: [
    '½§ 1! 2"@ 3#£ 4¤$ 5% 6& 7/{ 8([ 9)] 0=} +? †´†`|',
    'q w eE€ r t y u i o p å †¨†^†~',
    "a s d f g h j k l æ ø '*",
    '<>\\ z x c v b n mMµ ,; .: -_',
  ],
  es: [
    'ºª\\ 1!| 2"@ 3·# 4$~ 5% 6&¬ 7/ 8( 9) 0= \'? ¡¿',
    'q w eE€ r t y u i o p †`†^[ +*]',
    'a s d f g h j k l ñ †´†¨{ çÇ}',
    '<> z x c v b n m ,; .: -_',
  ],
  fr: [
    '² &1 é2~ "3# \'4{ (5[ -6| è7` _8\\ ç9^ à0@ )°] =+}',
    'a z eE€ r t y u i o p †^†¨ $£¤',
    'q s d f g h j k l m ù% *µ',
    '<> w x c v b n ,? ;. :/ !§',
  ],
  hr: [
    '†¸†¨ 1!~ 2"†ˇ 3#†^ 4$†˘ 5%†° 6&†˛ 7/` 8(†˙ 9)†´ 0=†˝ \'?†¨ +*†¸',
    'qQ\\ wW| eE€ r t z u i o p šŠ÷ đĐ×',
    'a s d fF[ gG] h j kKł lLŁ čČ ćĆß žŽ¤',
    '<>| y x c vV@ bB{ nN} mM§ ,; .: -_',
  ],
  hu: [
    '0§ 1\'~ 2"†ˇ 3+†^ 4!†˘ 5%†° 6/†˛ 7=` 8(†˙ 9)†´ öÖ†˝ üÜ†¨ óÓ†¸',
    'qQ\\ wW| eEÄ r t z uU€ iIÍ o p őŐ÷ úÚ×',
    'aAä sSđ dDĐ fF[ gG] h jJí kKł lLŁ éÉ$ áÁß űŰ¤',
    'íÍ< yY> xX# cC& vV@ bB{ nN} m ,?; .: -_*',
  ],
  is: [
    '†°†¨ 1! 2" 3# 4$ 5% 6& 7/{ 8([ 9)] 0=} öÖ\\ -_',
    "qQ@ w eE€ r t y u i o p ð '?~",
    'a s d f g h j k l æ †´ +*`',
    '<>| z x c v b n mMµ ,; .: þ',
  ],
  it: [
    '\\| 1! 2" 3£ 4$ 5% 6& 7/{ 8([ 9)] 0=} \'? ì^~',
    'q w eE€ r t y u i o p èé[ +*]',
    'a s d f g h j k l òç@ à°# ù§',
    '<> z x c v b n m ,; .: -_',
  ],
  latinamerican: [
    '|°¬ 1! 2" 3# 4$ 5% 6& 7/ 8( 9) 0= \'?\\ ¿¡',
    'qQ@ w e r t y u i o p †´†¨ +*~',
    'a s d f g h j k l ñ {[†^ }]†`',
    '<> z x c v b n m ,; .: -_',
  ],
  no: [
    '|§ 1! 2"@ 3#£ 4¤$ 5% 6& 7/{ 8([ 9)] 0=} +? \\†`†´',
    'q w eE€ r t y u i o p å †¨†^†~',
    "a s d f g h j k l ø æ '*",
    '<> z x c v b n mMµ ,; .: -_',
  ],
  pl: [
    '`~ 1! 2@ 3# 4$ 5% 6^ 7& 8* 9( 0) -_ =+',
    'q w eEęĘ r t y uU€ i oOóÓ p [{ ]}',
    'aAąĄ sSśŚ d f g h j k lLłŁ ;: \'" \\|',
    '\\| zZżŻ xXźŹ cCćĆ v b nNńŃ m ,< .> /?',
  ],
  pt: [
    '\\| 1! 2"@ 3#£ 4$§ 5% 6& 7/{ 8([ 9)] 0=} \'? «»',
    'q w eE€ r t y u i o p +*†¨ †´†`',
    'a s d f g h j k l ç ºª †~†^',
    '<> z x c v b n m ,; .: -_',
  ],
  ru: [
    'ё 1! 2" 3№ 4; 5% 6: 7? 8* 9( 0) -_ =+',
    'й ц у к е н г ш щ з х ъ',
    'ф ы в а п р о л д ж э \\/',
    '\\/ я ч с м и т ь б ю .,',
  ],
  se: [
    '§½ 1! 2"@ 3#£ 4¤$ 5%€ 6& 7/{ 8([ 9)] 0=} +?\\ †´†`',
    'q w eE€ r t y u i o p å †¨†^†~',
    "a s d f g h j k l ö ä '*",
    '<>| z x c v b n mMµ ,; .: -_',
  ],
  si: [
    '†¸†¨ 1!~ 2"†ˇ 3#†^ 4$†˘ 5%†° 6&†˛ 7/` 8(†˙ 9)†´ 0=†˝ \'?†¨ +*†¸',
    'qQ\\ wW| eE€ r t z u i o p šŠ÷ đĐ×',
    'a s d fF[ gG] h j kKł lLŁ čČ ćĆß žŽ¤',
    '<>| y x c vV@ bB{ nN} mM§ ,; .: -_',
  ],
  sk: [
    ';†° +1~ ľ2†ˇ š3†^ č4†˘ ť5†° ž6†˛ ý7` á8†˙ í9†´ é0†˝ =%†¨ †´†ˇ†¸',
    "qQ\\ wW| eE€ r t z u i o pP' ú/÷ ä(×",
    'a sSđ dDĐ fF[ gG] h j kKł lLŁ ô"$ §!ß ň)¤',
    '&*< yY> xX# cC& vV@ bB{ nN} m ,?< .:> -_*',
  ],
  tr: [
    '"é< 1!> 2\'£ 3^# 4+$ 5%½ 6& 7/{ 8([ 9)] 0=} *?\\ -_|',
    'qQ@ w eE€ r t y u ıI oO p ğĞ†¨ üÜ~',
    'aAæ sSß d f g h j k l şŞ†´ iİ ,;`',
    '<>| z x c v b n m öÖ çÇ .:',
  ],
  ua: [
    '\'₴ 1! 2" 3№ 4; 5% 6: 7? 8* 9( 0) -_ =+',
    'й ц у к е н гГґҐ ш щ з х ї',
    'ф і в а п р о л д ж є \\/',
    'ґ я ч с м и т ь б ю .,',
  ],
  uk: [
    '`¬¦ 1! 2" 3£ 4$€ 5% 6^ 7& 8* 9( 0) -_ =+',
    'q w eEé r t y uUú iIí oOó p [{ ]}',
    "aAá s d f g h j k l ;: '@ #~",
    '\\| z x c v b n m ,< .> /?',
  ],
  'us.dvorak': [
    '`~ 1! 2@ 3# 4$ 5% 6^ 7& 8* 9( 0) [{ ]}',
    '\'" ,< .> p y f g c r l /? =+',
    'a o e u i d h t n s -_ \\|',
    '<> ;: q j k x b m w v z',
  ],
  'us.intl': [
    '†`†~ 1!¡¹ 2@² 3#³ 4$¤£ 5%€ 6†^ 7& 8* 9(‘ 0)’ -_¥ =+×÷',
    'qQäÄ wWåÅ eEéÉ r tTþÞ yYüÜ uUúÚ iIíÍ oOóÓ pPöÖ [{« ]}»',
    'aAáÁ sSß dDðÐ f g h j k lLøØ ;:¶° †´†¨\'" \\|¬¦',
    '\\| zZæÆ x cC© v b nNñÑ mMµ ,<ç .> /?¿',
  ],
};

/** Names of the same layout in other collections (vt(4), Linux, X11). */
const ALIASES: Readonly<Record<string, string>> = {
  at: 'de',
  fi: 'se',
  gb: 'uk',
  la: 'latinamerican',
  latam: 'latinamerican',
  'fr-ch': 'ch-fr',
  'hu.102': 'hu',
  'hu.101': 'hu',
  dvorak: 'us.dvorak',
};

const NO_ACCENTS = /[._](noacc|nodeadkeys)$/;
const ACCENTS = /[._]acc$/;

/** Names of the layouts, without other spellings. */
export const LAYOUT_NAMES: readonly string[] = ['us', ...Object.keys(ROWS)];

/** A layout that comes with webhyve. With `.noacc` or `_noacc` behind the name, accents do not wait for a letter. */
export function layoutNamed(name: string): KeyboardLayout | undefined {
  const base = name.replace(NO_ACCENTS, '').replace(ACCENTS, '');
  const known = Object.hasOwn(ALIASES, base) ? (ALIASES[base] ?? base) : base;
  if (known === 'us') return usLayout;
  const rows = Object.hasOwn(ROWS, known) ? ROWS[known] : undefined;
  return rows && KeyboardLayout.fromRows(name, rows, !NO_ACCENTS.test(name));
}
