// Swaps the code in the link for a cookie. The code leaves the address at once, so that no history keeps it.

const say = document.getElementById("say");
const code = new URLSearchParams(location.hash.slice(1)).get("code");
if (location.hash) history.replaceState(null, "", location.pathname + location.search);

async function swap(given) {
  say.className = "";
  say.textContent = "Signing in …";
  try {
    const response = await fetch("/web/signin", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ code: given }),
    });
    if (response.ok) {
      location.reload();
      return;
    }
    const { error } = await response.json();
    say.textContent = error.hint ? `${error.message} (${error.hint})` : error.message;
  } catch {
    say.textContent = "The gateway can't be reached.";
  }
  say.className = "bad";
}

document.getElementById("form").addEventListener("submit", (event) => {
  event.preventDefault();
  const typed = document.getElementById("code").value.trim();
  swap(typed.includes("code=") ? typed.slice(typed.indexOf("code=") + 5) : typed);
});

if (code) swap(code);
