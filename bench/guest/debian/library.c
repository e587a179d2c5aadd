/* What gcc -O2 compiles in the guest: 1,800 lines of Debian's libstb-dev (block compression of textures, noise, packing of rectangles). */
#define STB_DXT_IMPLEMENTATION
#include <stb/stb_dxt.h>
#define STB_PERLIN_IMPLEMENTATION
#include <stb/stb_perlin.h>
#define STB_RECT_PACK_IMPLEMENTATION
#include <stb/stb_rect_pack.h>
