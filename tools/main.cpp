// SPDX-License-Identifier: Apache-2.0
#include "tools/cli.h"

int main(int argc, char** argv) { return metvox::run_program(argc, argv); }
