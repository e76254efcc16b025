// SPDX-License-Identifier: MIT

import Platform

/// What device code's plain functions give when the host's clang compiles them: rows of numbers by name.
public struct HostProgram {
    public private(set) var rows: [String: [[Int]]] = [:]

    /// Whether there is a compiler; says so where not.
    public static let isThere: Bool = {
        let isThere = ((try? ToolRun("clang++", ["--version"]))?.status ?? 1) == 0
        if !isThere { print("SKIPPED: plain functions of the GPU kernels, because clang++ is not there") }
        return isThere
    }()

    public struct Failure: Error {
        public var output: String
    }

    /// Compiles and runs `body`, which calls `row("name", numbers…)`.
    ///
    /// - Parameters:
    ///   - headers: names and texts of the files beside it.
    ///   - include: the one that `body` needs.
    public init(headers: [(name: String, text: String)], include: String, _ body: String) throws {
        let folder = try TemporaryFolder()
        func write(_ name: String, _ text: String) throws {
            try AtomicFileWriter.write(Array(text.utf8), path: FilePaths.join(folder.path, name))
        }
        for header in headers { try write(header.name, header.text) }
        try write(
            "main.cpp",
            """
            #include <cstdio>
            #include <cstddef>
            #include <initializer_list>
            #include "\(include)"
            using namespace fathom;
            template <class... T> void row(const char *name, T... values) {
                std::printf("%s", name);
                (std::printf(" %lld", (long long)values), ...);
                std::printf("\\n");
            }
            int main() { \(body) }
            """)
        let program = FilePaths.join(folder.path, "main")
        let build = try ToolRun("clang++", ["-std=c++20", "-O1", "-o", program, "\(program).cpp"])
        guard build.status == 0 else { throw Failure(output: build.output) }
        let run = try ToolRun(program, [])
        guard run.status == 0 else { throw Failure(output: run.output) }
        for line in run.output.split(separator: "\n") {
            let words = line.split(separator: " ")
            rows[String(words[0]), default: []].append(words.dropFirst().compactMap { Int($0) })
        }
    }
}
