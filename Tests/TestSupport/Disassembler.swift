// SPDX-License-Identifier: MIT

import CUDA
public import Platform

/// Turns machine code of the GPU into instructions (`nvdisasm`), to see that a kernel uses the ones it was written for.
public struct Disassembler: Sendable {
    /// One instruction.
    public struct Instruction: Sendable, Equatable {
        /// The name with its modifiers, such as `HGMMA.64x256x16.F32.BF16`.
        public var name: String
        /// Everything behind the name.
        public var operands: String

        /// The name without modifiers, such as `HGMMA`.
        public var opcode: String { String(name.prefix { $0 != "." }) }
    }

    /// Where the program is.
    public let path: String

    /// The disassembler at hand: `FATHOM_NVDISASM`, NVIDIA's wheel, or the toolkit's; nil where there is none, which is
    /// said loudly once.
    public static let found: Disassembler? = {
        let wheels = VirtualEnvironments.wheelFolders().flatMap { folder in
            ["cu13", "cuda_nvdisasm", "cuda_nvcc"].map { "\(folder)/\($0)/bin/nvdisasm" }
        }
        let onPath = (Machine.environment("PATH") ?? "").split(separator: ":").map { "\($0)/nvdisasm" }
        let places =
            Machine.environment("FATHOM_NVDISASM").map { [$0] } ?? wheels + onPath + ["/usr/local/cuda/bin/nvdisasm"]
        if let path = places.first(where: FilePaths.isRegularFile) { return Disassembler(path: path) }
        print("SKIPPED: tests that read machine code, because nvdisasm is not there (scripts/bootstrap --tests)")
        return nil
    }()

    /// The instructions of each kernel and function, by symbol, padding included.
    public func instructions(of cubin: [UInt8]) throws(FathomError) -> [String: [Instruction]] {
        let folder = try TemporaryFolder()
        let file = FilePaths.join(folder.path, "kernel.cubin")
        try AtomicFileWriter.write(cubin, path: file)
        let run = try ToolRun(path, ["--print-code", file])
        guard run.status == 0 else {
            throw FathomError(.badData, "\(path) ended with \(run.status): \(run.output)")
        }
        return Self.parse(run.output)
    }

    /// Reads a listing: sections named `.text.<symbol>`, instructions behind an offset in a comment.
    static func parse(_ listing: String) -> [String: [Instruction]] {
        var result: [String: [Instruction]] = [:]
        var symbol: String?
        for line in listing.split(separator: "\n") {
            let text = line.drop { $0 == " " || $0 == "\t" }
            if text.hasPrefix(".text."), text.hasSuffix(":") {
                symbol = String(text.dropFirst(6).dropLast())
            } else if let symbol, text.hasPrefix("/*"), let end = text.firstRange(of: "*/") {
                var words = text[end.upperBound...].split { $0 == " " || $0 == ";" }
                if words.first?.hasPrefix("@") == true { words.removeFirst() }
                guard let name = words.first, name.first?.isUppercase == true else { continue }
                result[symbol, default: []].append(
                    Instruction(name: String(name), operands: words.dropFirst().joined(separator: " ")))
            }
        }
        return result
    }
}
