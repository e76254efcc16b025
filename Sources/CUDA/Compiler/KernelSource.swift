// SPDX-License-Identifier: MIT

/// What the compiler is given: one translation unit, already specialised for its shape.
///
/// Two equal values compile to the same binary, so the value is what the cache is keyed by.
public struct KernelSource: Hashable, Sendable {
    /// A header that lives in memory.
    public struct Header: Hashable, Sendable {
        /// The name in `#include "name"`.
        public var name: String
        public var text: String

        public init(name: String, text: String) {
            self.name = name
            self.text = text
        }
    }

    /// The file name that messages of the compiler show, such as `gemm.cu`.
    public var name: String
    public var text: String
    public var headers: [Header]
    /// Options beside the architecture, the language version and the report of the assembler, such as `-DBLOCK_M=128`.
    public var options: [String]
    /// Template instances to make, such as `gemm<128, 256>`; `extern "C"` kernels need none.
    public var nameExpressions: [String]
    /// The real architecture that machine code is made for.
    public var architecture: String

    public init(
        name: String, text: String, headers: [Header] = [], options: [String] = [], nameExpressions: [String] = [],
        architecture: String = "sm_90a"
    ) {
        self.name = name
        self.text = text
        self.headers = headers
        self.options = options
        self.nameExpressions = nameExpressions
        self.architecture = architecture
    }

    /// All options, in the order in which the compiler gets them.
    public var allOptions: [String] {
        ["--gpu-architecture=\(architecture)", "--std=c++20", "--ptxas-options=-v"] + options
    }
}
