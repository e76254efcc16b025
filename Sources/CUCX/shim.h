// SPDX-License-Identifier: MIT
//
// UCX's protocol layer, as the system has it (Debian: libucx-dev).

#ifndef FATHOM_CUCX_H
#define FATHOM_CUCX_H
#include <ucp/api/ucp.h>
#endif
