// SPDX-License-Identifier: MIT
#pragma once

// What every kernel of the house starts from. NVRTC has no standard headers, so the fixed-width types are here.
using uint8_t = unsigned char;
using uint16_t = unsigned short;
using uint32_t = unsigned int;
using uint64_t = unsigned long long;
using int32_t = int;
using int64_t = long long;
