package docker

import (
	"bufio"
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// machines maps an architecture as engines name it to the one in an ELF header.
var machines = map[string]elf.Machine{
	"x86_64": elf.EM_X86_64, "amd64": elf.EM_X86_64, "i686": elf.EM_386, "i386": elf.EM_386,
	"aarch64": elf.EM_AARCH64, "arm64": elf.EM_AARCH64, "armv7l": elf.EM_ARM, "armv6l": elf.EM_ARM,
	"ppc64le": elf.EM_PPC64, "s390x": elf.EM_S390, "riscv64": elf.EM_RISCV,
}

// needs finds what a dynamically linked binary is loaded with: the content of its libraries by name, and of its
// loader by its path without the leading slash. A static binary needs nothing and has no loader.
func needs(binary []byte, arch string) (libraries map[string][]byte, loader string, err error) {
	machine, known := machines[arch]
	if !known {
		return nil, "", unfit("the engine's architecture " + arch + " is not known")
	}
	wanted, loader, err := dynamic(binary, machine)
	if err != nil || loader == "" {
		return nil, "", err
	}
	found := map[string][]byte{}
	loaderData, err := os.ReadFile("/" + loader)
	if err != nil {
		return nil, "", unfit("it is dynamically linked, and its loader: " + err.Error())
	}
	found[loader] = loaderData
	dirs := libraryDirs()
	for len(wanted) > 0 {
		name := wanted[0]
		wanted = wanted[1:]
		if _, done := found[name]; done || name == filepath.Base(loader) {
			continue
		}
		data, more := findLibrary(name, dirs, machine)
		if data == nil {
			return nil, "", unfit("it is dynamically linked, and " + name + " is not found")
		}
		found[name] = data
		wanted = append(wanted, more...)
	}
	return found, loader, nil
}

// dynamic reads what an ELF file asks for. A library has no loader of its own.
func dynamic(data []byte, machine elf.Machine) (libraries []string, loader string, err error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, "", unfit("it is no linux binary")
	}
	defer f.Close()
	if f.Machine != machine || f.OSABI != elf.ELFOSABI_NONE && f.OSABI != elf.ELFOSABI_LINUX {
		return nil, "", unfit(fmt.Sprintf("it is for %s, and the engine runs on %s",
			strings.TrimPrefix(f.Machine.String(), "EM_"), strings.TrimPrefix(machine.String(), "EM_")))
	}
	for _, p := range f.Progs {
		if p.Type == elf.PT_INTERP && p.Filesz < 4096 {
			name, err := io.ReadAll(p.Open())
			if err != nil {
				return nil, "", unfit("its loader cannot be read")
			}
			loader = strings.TrimLeft(strings.TrimRight(string(name), "\x00"), "/")
		}
	}
	libraries, err = f.ImportedLibraries()
	if err != nil {
		return nil, "", unfit("its libraries cannot be read")
	}
	return libraries, loader, nil
}

// findLibrary looks for a library of the right architecture, and returns what it needs in turn.
func findLibrary(name string, dirs []string, machine elf.Machine) (data []byte, more []string) {
	for _, dir := range dirs {
		data, err := os.ReadFile(filepath.Join(dir, filepath.Base(name)))
		if err != nil {
			continue
		}
		if more, _, err = dynamic(data, machine); err == nil {
			return data, more
		}
	}
	return nil, nil
}

// libraryDirs are those the loader searches (ld.so(8)): what ld.so.conf.d lists, then the usual ones.
func libraryDirs() []string {
	var dirs []string
	files, _ := filepath.Glob("/etc/ld.so.conf.d/*.conf")
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			continue
		}
		for lines := bufio.NewScanner(f); lines.Scan(); {
			if dir := strings.TrimSpace(lines.Text()); filepath.IsAbs(dir) {
				dirs = append(dirs, dir)
			}
		}
		_ = f.Close()
	}
	return append(dirs, "/lib64", "/usr/lib64", "/lib", "/usr/lib")
}
