// SPDX-License-Identifier: MIT

/// What the assembler says about one kernel (`ptxas -v`).
public struct KernelReport: Sendable, Equatable {
    /// The kernel's symbol.
    public var symbol: String
    /// Registers of a thread at entry.
    public var registers = 0
    public var stackFrameBytes = 0
    public var spillStoreBytes = 0
    public var spillLoadBytes = 0
    /// Shared memory of fixed size in bytes.
    public var staticSharedBytes = 0
    /// Named barriers.
    public var barriers = 0
    /// The assembler ignored a change of the register budget (C7508, C7506 or C7507). Where its message names no
    /// kernel, it counts for all kernels of the program.
    public var ignoresRegisterBudget = false
    /// The assembler put matrix instructions one after the other, because their registers are touched between (C7510
    /// and its neighbours).
    public var serializesMatrixInstructions = false

    /// Registers spill to memory, or the kernel has a stack frame: either costs memory traffic.
    public var usesLocalMemory: Bool { stackFrameBytes > 0 || spillStoreBytes > 0 || spillLoadBytes > 0 }

    public init(symbol: String) { self.symbol = symbol }

    /// Reads the reports out of a compiler's log, in its order.
    package static func parse(log: String) -> [KernelReport] {
        var reports: [KernelReport] = []
        var ignoring: [Substring] = []
        var serializing: [Substring] = []
        var current: Int?
        for line in log.split(whereSeparator: \.isNewline) {
            if line.contains("Compiling entry function"), let symbol = quoted(line) {
                reports.append(KernelReport(symbol: String(symbol)))
                current = reports.count - 1
            } else if line.contains("setmaxnreg"), line.contains("ignored") {
                ignoring.append(line)
            } else if line.contains("wgmma"), line.contains("serializ") {
                serializing.append(line)
            } else if line.contains("Function properties for") {
                // Functions that are not inlined have properties of their own.
                let symbol = line.split(separator: " ").last.map(String.init)
                current = reports.lastIndex { $0.symbol == symbol }
            } else if let current {
                reports[current].read(line)
            }
        }
        for index in reports.indices {
            let symbol = reports[index].symbol
            func concerns(_ line: Substring) -> Bool { quoted(line, containing: reports) ?? symbol == symbol }
            reports[index].ignoresRegisterBudget = ignoring.contains(where: concerns)
            reports[index].serializesMatrixInstructions = serializing.contains(where: concerns)
        }
        return reports
    }

    /// The kernel that a message names in quotes; nil where it names none.
    private static func quoted(_ line: Substring, containing reports: [KernelReport]) -> String? {
        line.split(separator: "'", omittingEmptySubsequences: false).map(String.init).first { part in
            reports.contains { $0.symbol == part }
        }
    }

    /// The text between the first two quotes.
    private static func quoted(_ line: Substring) -> Substring? {
        let parts = line.split(separator: "'", omittingEmptySubsequences: false)
        return parts.count > 2 ? parts[1] : nil
    }

    /// Takes the figures of a line such as `8 bytes stack frame, 4 bytes spill stores, 4 bytes spill loads` or
    /// `Used 90 registers, used 1 barriers, 1024 bytes smem`.
    private mutating func read(_ line: Substring) {
        let text = line.split(separator: ":", maxSplits: 1).last ?? line
        for item in text.split(separator: ",") {
            let words = item.split(separator: " ")
            guard let number = words.lazy.compactMap({ Int($0) }).first else { continue }
            let tail = words.drop { Int($0) == nil }.dropFirst().joined(separator: " ")
            switch tail {
            case "bytes stack frame": stackFrameBytes = max(stackFrameBytes, number)
            case "bytes spill stores": spillStoreBytes += number
            case "bytes spill loads": spillLoadBytes += number
            case "registers": registers = number
            case "barriers": barriers = number
            case "bytes smem": staticSharedBytes = number
            default: break
            }
        }
    }
}
